"""What the loader serves of a scene, and why it would not serve something else."""

from dataclasses import dataclass
from types import MappingProxyType

from service.experiment.aliases import Aliases
from service.experiment.document import Plan
from service.experiment.errors import DamagedPlan
from service.experiment.library import Pinned, expand
from service.experiment.plan import parse_plan
from service.experiment.signing import PlanKey
from service.experiment.snapshot import Snapshot
from service.experiment.store import StoredPlan


@dataclass(frozen=True)
class Accepted:
    """What is served. `aliases`: those the plan names. `confirmed`: the store has said so."""

    snapshot: Snapshot
    digest: str
    aliases: Aliases
    confirmed: bool

    def is_of(self, version: int, digest: str, aliases: Aliases) -> bool:
        return (self.snapshot.version, self.digest, self.aliases) == (version, digest, aliases)

    def still_is(self, version: int | None) -> bool:
        return self.confirmed and self.snapshot.version == version


class NotServed(Exception):
    """A plan that cannot go live: why, and where the aliases that it names pointed then."""

    def __init__(self, aliases: Aliases, why: Exception) -> None:
        super().__init__(str(why))
        self.aliases, self.why = aliases, why


def plan_of(
    scene: str,
    stored: StoredPlan,
    key: PlanKey | None = None,
    pinned: Pinned = MappingProxyType({}),
) -> Plan:
    """The plan of a publication, signed if there is a key, written out over its libraries.

    Raises:
        PlanInvalid, UnsignedPlan: as their names say.
        DamagedPlan: it is another scene's.
    """
    if key is not None:
        key.check(stored.plan, stored.signature)
    plan = parse_plan(expand(stored.plan, pinned).document)
    if plan.scene != scene:
        raise DamagedPlan(f"the plan of scene {plan.scene!r} is stored under {scene!r}")
    return plan
