"""What a search maximises and what it must keep, as written: `like.auc`, `watch@10>=0.98`."""

import re
from dataclasses import dataclass

import numpy as np

from training.metrics import auc, grouped_auc, ndcg, top_rows, xauc
from training.tune.errors import TuneError
from training.tune.lists import Floats, Lists

_OBJECTIVE = re.compile(
    r"(?P<of>[A-Za-z_][\w.]*?)(\.(?P<metric>auc|gauc|xauc|ndcg))?(@(?P<depth>\d+))?"
)
_BOUND = re.compile(r"(?P<objective>[^<>=]+)(?P<sign>>=|<=)(?P<share>[^<>=]+)")
FORMS = "NAME.auc, NAME.gauc, NAME.xauc, NAME.ndcg@K or NAME@K"


@dataclass(frozen=True)
class Objective:
    """A figure of lists in the order of their scores, the larger the better.

    `NAME.auc` over all rows, `NAME.gauc` inside users, `NAME.xauc` of ordered pairs of a number,
    `NAME.ndcg@K` of lists, `NAME@K`: the mean of NAME over the rows among the first K of their
    lists. NAME is a label or an attribute; rows where it is unknown do not count.
    """

    text: str
    of: str
    metric: str | None
    depth: int | None

    def __call__(self, lists: Lists, scores: Floats) -> float:
        """NaN where the rows do not define it."""
        values = lists.column(self.of)
        known = np.isfinite(values)
        match self.metric:
            case "auc":
                return auc(values[known], scores[known])
            case "gauc":
                return grouped_auc(values[known], scores[known], lists.of_user[known])
            case "xauc":
                return xauc(values[known], scores[known])
            case "ndcg":
                return ndcg(values[known], scores[known], lists.of_list[known], self.depth)
            case _:
                top = top_rows(scores, lists.of_list, self.depth) & known
                return float(values[top].mean()) if top.any() else float("nan")

    @property
    def of_top(self) -> bool:
        """Whether it is of the form NAME@K, whose value under another policy can be estimated."""
        return self.metric is None


@dataclass(frozen=True)
class Bound:
    """A figure that must stay at least (or at most) a share of the control's."""

    text: str
    objective: Objective
    sign: str  # ">=" or "<="
    share: float

    def violation(self, value: float, control: float) -> float:
        """How far the value is beyond the bound; 0 or less keeps it."""
        limit = self.share * control
        return limit - value if self.sign == ">=" else value - limit


def parse_objective(text: str, lists: Lists) -> Objective:
    """Raises TuneError: it is not of a known form, or the rows have nothing of that name."""
    match = _OBJECTIVE.fullmatch(text.strip())
    if match is None:
        raise TuneError(f"objective {text!r} is none of {FORMS}")
    of, metric = match["of"], match["metric"]
    depth = int(match["depth"]) if match["depth"] else None
    wants_depth = metric in (None, "ndcg")
    if wants_depth != (depth is not None) or depth == 0:
        raise TuneError(f"objective {text!r} is none of {FORMS}, with K from 1")
    values = lists.column(of)
    known = values[np.isfinite(values)]
    if not len(known):
        raise TuneError(f"objective {text!r}: {of!r} is known in no row")
    if metric in ("auc", "gauc") and not np.isin(known, (0, 1)).all():
        raise TuneError(
            f"objective {text!r}: {of!r} goes from {known.min():g} to {known.max():g}, and an AUC"
            f" takes 0 and 1; {of}.xauc or {of}@10 take any number"
        )
    if metric == "ndcg" and known.min() < 0:
        raise TuneError(f"objective {text!r}: {of!r} goes down to {known.min():g}; a gain cannot")
    return Objective(text.strip(), of, metric, depth)


def parse_bound(text: str, lists: Lists) -> Bound:
    """`watch@10>=0.98`: at least .98 of what it is under the control."""
    match = _BOUND.fullmatch(text.replace(" ", ""))
    try:
        share = float(match["share"]) if match else None
    except ValueError:
        share = None
    if match is None or share is None or not np.isfinite(share):
        raise TuneError(
            f"bound {text!r} is not OBJECTIVE>=SHARE, as in watch@10>=0.98: at least .98 of the"
            " control's"
        )
    return Bound(text, parse_objective(match["objective"], lists), match["sign"], share)
