"""Read a plan document: bytes or a mapping in, a `Plan` or the list of what is wrong out."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.experiment.document import Plan
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding, errors
from service.experiment.rules import agree
from service.experiment.shape import shape_findings


def parse_plan(document: Mapping[str, Any] | bytes) -> Plan:
    """The plan, if its shape is right and its parts agree; what needs models is `check_plan`'s.

    Raises:
        PlanInvalid: every finding, each with its JSON pointer.
    """
    if isinstance(document, bytes):
        try:
            document = json.loads(document, parse_constant=_no_constant)
        except (ValueError, RecursionError) as err:
            raise PlanInvalid([Finding("error", "", f"the plan is not JSON: {err}")]) from err
    if not isinstance(document, Mapping):
        raise PlanInvalid([Finding("error", "", "the plan is not a JSON object")])
    try:
        plan = Plan.model_validate_json(json.dumps(document))
    except ValidationError as err:
        raise PlanInvalid(shape_findings(err, Plan)) from err
    findings = agree(plan)
    if errors(findings):
        raise PlanInvalid(findings)
    return plan


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
