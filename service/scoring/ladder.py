"""The ladder of a plan: what a request gets when the time left is not enough for all of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.scoring.cost import CostModel
from service.scoring.ranking import Step, Treatment

FEWER, MODEL, INPUT_ORDER = "fewer", "model", "input_order"

_PATIENCE_DOUBLES_S = 0.5  # of a prediction that nothing confirms any more
_MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Rung:
    """A treatment, and how many candidates it needs at least to be worth running (None: all)."""

    treatment: Treatment
    least: int | None


@dataclass(frozen=True)
class Choice:
    """What to run: the first `rows` candidates under `treatment`.

    `is_trial`: the costs say that it is late, but they are old, and nobody else is waiting.
    """

    treatment: Treatment
    rows: int
    work_s: float
    is_trial: bool = False


def rungs(ladder: Sequence[Step], treatment: Treatment) -> Iterator[Rung]:
    """The ladder from its top: all of it first. Steps add up: after `fewer`, a model may cut, too.

    `treatment.lighter` has the treatment of each `model` step, None where it is the same model.
    """
    yield Rung(treatment, None)
    least: int | None = None
    lighter = iter(treatment.lighter)
    for step in ladder:
        if step.step == FEWER:
            least = step.least
            yield Rung(treatment, least)
        elif step.step == MODEL:
            treatment = next(lighter) or treatment
            yield Rung(treatment, None)
            if least is not None:
                yield Rung(treatment, least)


def choose(
    ladder: Sequence[Step],
    treatment: Treatment,
    rows: int,
    *,
    seconds: float,
    costs: CostModel,
    idle: bool,
    may_cut: bool,
    is_loaded: Callable[[str], bool],
) -> Choice | None:
    """The first rung that `seconds` are enough for, or None: the input order is what is left.

    What does not fit is not run, and so its costs are never corrected. While nothing else is
    waiting (`idle`), a prediction is therefore trusted less the longer nothing of its size was
    measured, or tried in vain.
    """
    for rung in rungs(ladder, treatment):
        model = rung.treatment.model
        if not is_loaded(model) or (rung.least is not None and not may_cut):
            continue
        allowed = seconds
        if idle and costs.work(model, rows).high > seconds:
            doublings = min(costs.unmeasured_s(model, rows) / _PATIENCE_DOUBLES_S, _MOST_DOUBLINGS)
            allowed *= 2**doublings
        if rung.least is None:
            cost = costs.work(model, rows)
            # All of it may be tight: if it does get late, the answer says so.
            fits = rows if cost.mean <= allowed else 0
        else:
            fits = costs.most_rows(model, allowed, rows)
        if fits >= min(rung.least or rows, rows) and fits:
            work_s = costs.work(model, fits).mean
            return Choice(rung.treatment, fits, work_s, is_trial=work_s > seconds)
    return None
