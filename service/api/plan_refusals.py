"""What is wrong with a plan, or with its store, as the refusal that a caller is told."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from service.api.etags import etag
from service.api.json_body import require_sane_numbers
from service.errors import (
    EtagMismatch,
    Fault,
    InvalidRequest,
    PlanRefused,
    PlanUnsigned,
    StoreDown,
    UnknownVersion,
)
from service.experiment.connection import UNAVAILABLE
from service.experiment.document import Plan
from service.experiment.errors import (
    DamagedAliases,
    DamagedPlan,
    PlanInvalid,
    StaleVersion,
    UnsignedPlan,
)
from service.experiment.errors import UnknownVersion as NoSuchVersion
from service.experiment.findings import Finding, pointer
from service.experiment.plan import parse_plan


def refusal_of(findings: Sequence[Finding]) -> PlanRefused:
    """A plan's findings as a refusal."""
    wrong = [f for f in findings if f.severity == "error"]
    more = f" ({len(wrong)} errors)" if len(wrong) > 1 else ""
    return PlanRefused(
        f"{wrong[0].pointer or 'the plan'}: {wrong[0].message}{more}",
        faults=[_fault(f) for f in findings],
    )


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as replies show it; line, column and caret only for formulas."""
    return {k: v for k, v in asdict(finding).items() if v is not None}


def _fault(finding: Finding) -> Fault:
    more = finding_json(finding)
    return Fault(more.pop("message"), more.pop("pointer"), more=more)


def require_sane(document: Any) -> None:
    """Raise PlanInvalid for a number that no plan can mean."""
    try:
        require_sane_numbers(document)
    except InvalidRequest as refusal:
        fault = refusal.faults[0]
        raise PlanInvalid([Finding("error", fault.pointer or "", fault.detail)]) from None


def parse_for(scene: str, document: Any) -> Plan:
    """The plan of a document that is for this scene; raises PlanInvalid."""
    plan = parse_plan(document)
    if plan.scene != scene:
        message = f"the plan says scene {plan.scene!r}, the path {scene!r}"
        raise PlanInvalid([Finding("error", pointer("scene"), message)])
    return plan


@contextmanager
def store_errors() -> Iterator[None]:
    """What the store raises, as what a caller is told."""
    try:
        yield
    except StaleVersion as err:
        headers: Mapping[str, str] = {} if err.current is None else {"etag": etag(err.current)}
        raise EtagMismatch(str(err), headers=headers, more={"version": err.current}) from err
    except (NoSuchVersion, DamagedPlan) as err:
        raise UnknownVersion(str(err)) from err
    except UnsignedPlan as err:
        raise PlanUnsigned(str(err)) from err
    except DamagedAliases as err:
        raise StoreDown(str(err), headers={"retry-after": "1"}) from err
    except UNAVAILABLE as err:
        raise StoreDown(
            f"no plan can be read or written ({type(err).__name__}); ranking goes on with the"
            " last accepted ones",
            headers={"retry-after": "1"},
        ) from err
