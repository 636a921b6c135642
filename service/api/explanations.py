"""What an explained ranking adds to the reply: per item, for the request, and of two compared."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from service.api.deadline import LARGEST_MS
from service.api.messages import RankRequest
from service.errors import Fault, InvalidRequest
from service.experiment.arithmetic import bucket_arithmetic
from service.experiment.findings import pointer
from service.experiment.snapshot import Snapshot
from service.fusion.compare import Comparison
from service.scoring.ranking import Control, Explained, RankInput, RankOutput, Reranked, Treatment
from service.scoring.scorer import DEADLINE, MODEL_FAILED, MODEL_MISSING

_UNSCORED = {
    DEADLINE: "there was no time left for it (deadline); X-Request-Timeout-Ms gives more, up to"
    f" {LARGEST_MS}",
    MODEL_FAILED: "the run of the model failed (model_failed)",
    MODEL_MISSING: "the model is not loaded (model_missing)",
}


def compared_rows(request: RankRequest, ids: Sequence[str]) -> tuple[int, int] | None:
    """The input positions of the two candidates to compare.

    Raises:
        InvalidRequest: one of them is no candidate, or they are the same.
    """
    if isinstance(request.explain, bool):
        return None
    pair = request.explain.compare
    for place, id_ in enumerate(pair):
        if id_ not in ids:
            _refuse(f"{id_!r} is no candidate of this request", place)
    if pair[0] == pair[1]:
        _refuse(f"{pair[0]!r} is compared with itself: name two candidates", 1)
    return ids.index(pair[0]), ids.index(pair[1])


def _refuse(detail: str, place: int) -> None:
    at = pointer("explain", "compare", place)
    raise InvalidRequest(f"{at}: {detail}", faults=[Fault(detail, at)])


def item_explanations(output: RankOutput, explained: Explained) -> list[dict[str, Any]]:
    """What made each score, in the order of the reply. Values that are not finite become null."""
    control = explained.control
    return [
        {
            "heads": {n: float(v[row]) for n, v in output.heads.items()},
            "attributes": {n: float(v[row]) for n, v in explained.attributes.items()},
            "mode": explained.terms[row].mode,
            "note": explained.terms[row].note,
            "terms": [
                {"text": t.text, "value": t.value, "contribution": t.contribution}
                for t in explained.terms[row].terms
            ],
            "missing": explained.missing_by_item[row],
            "position": int(explained.positions[row]),
            **_under_control(control, row),
            **_moves(output.reranked, row),
        }
        for row in output.order.tolist()
    ]


def _moves(reranked: Reranked | None, row: int) -> dict[str, Any]:
    return {} if reranked is None else {"rerank": reranked.notes.get(row, [])}


def _under_control(control: Control | None, row: int) -> dict[str, Any]:
    if control is None or control.scores is None or control.positions is None:
        return {}
    score, position = float(control.scores[row]), int(control.positions[row])
    return {"control": {"score": score, "position": position}}


def request_explanation(
    request: RankInput,
    ids: Sequence[str],
    snapshot: Snapshot,
    output: RankOutput,
    explained: Explained,
) -> dict[str, Any]:
    """What holds for all candidates: the formula with its numbers, and how the user got it."""
    formula = output.treatment.formula
    found: dict[str, Any] = {
        "formula": formula.source,
        "params": {n: output.treatment.params[n] for n in sorted(formula.params)},
        "scalars": explained.scalars,
        "missing": explained.missing,
        "unknown": sorted(output.counts.unknown),
        "calibration": {
            name: calibration.model_dump() for name, calibration in explained.calibrations.items()
        },
        "buckets": bucket_arithmetic(
            snapshot,
            request.user_id,
            request.request_id,
            request.context,
            request.user,
            request.asked,
        ),
        "control": None,
    }
    if explained.control is not None:
        found["control"] = _changes(explained.control, output.treatment)
    if explained.comparison is not None:
        found["compare"] = _comparison(explained.comparison, ids, output)
    return found


def no_explanation(output: RankOutput) -> dict[str, Any]:
    """What stands in its place where no candidate was scored."""
    if not len(output.scores):
        why = "there are no candidates"
    else:
        why = "; ".join(words for reason, words in _UNSCORED.items() if reason in output.degraded)
    return {"note": f"nothing was scored, so there is nothing to explain: {why}"}


def _changes(control: Control, treatment: Treatment) -> dict[str, Any]:
    """What the experiments changed: each key as [in no experiment, in this ranking]."""
    before = control.treatment
    params = _different(_used(before), _used(treatment))
    texts = {
        "formula": (before.formula_name, treatment.formula_name),
        "score": (before.formula.source, treatment.formula.source),
        "model": (before.model, treatment.model),
    }
    found: dict[str, Any] = {name: list(both) for name, both in texts.items() if both[0] != both[1]}
    if params:
        found["params"] = params
    if lets := _different(before.formula.lets, treatment.formula.lets):
        found["let"] = lets
    if control.scores is None:
        found["note"] = (
            f"in no experiment, model {before.model} would rank; it did not run, so scores and"
            " positions under it are not known"
        )
    return found


def _used(treatment: Treatment) -> dict[str, float]:
    return {name: treatment.params[name] for name in sorted(treatment.formula.params)}


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys([*before, *after])
    return {n: [before.get(n), after.get(n)] for n in names if before.get(n) != after.get(n)}


def _comparison(found: Comparison, ids: Sequence[str], output: RankOutput) -> dict[str, Any]:
    above, below = found.above, found.below
    return {
        "above": {"id": ids[above], "score": float(output.scores[above])},
        "below": {"id": ids[below], "score": float(output.scores[below])},
        "mode": found.mode,
        "lead": found.lead,
        "terms": [asdict(term) for term in found.terms],
        "flips": [
            {**asdict(flip), "change": None if flip.needs is None else flip.needs - flip.value}
            for flip in found.flips
        ],
        "note": found.note,
    }
