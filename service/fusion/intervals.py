"""What a formula can do over the observed ranges of its inputs: how far it goes, where it breaks.

Walks the formula twice: with its params as they are, for what may go wrong, and with each param
anywhere within its bounds, for what can never matter. Ranges are sound: no value within them is
missed. They are not exact: what two names have to do with each other is not known, so a doubt says
"may".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.fusion.doubt import Doubt
from service.fusion.expand import Expander
from service.fusion.life import Life, signs_of
from service.fusion.range_rules import MOST_CANDIDATES
from service.fusion.range_walk import RangeWalk
from service.fusion.ranges import Range
from service.fusion.scope import RANK_IN


@dataclass(frozen=True)
class Survey:
    """`range` holds every finite score.

    `matter`: the params that can change the order. `idle`: those in a doubt of that kind.
    """

    range: Range
    doubts: tuple[Doubt, ...]
    matter: frozenset[str]
    idle: frozenset[str]


def survey(
    source: str,
    *,
    lets: Mapping[str, str],
    inputs: Mapping[str, Range],
    params: Mapping[str, Range],
    bounds: Mapping[str, Range],
    heads: frozenset[str],
) -> Survey:
    """Survey a formula that compiles.

    Args:
        source: the score.
        lets: as `compile_formula` takes them.
        inputs: observed ranges of heads, attributes and scalars.
        params: their values now.
        bounds: where each of them may be set to.
        heads: which of `inputs` are heads.
    """
    root = Expander(lets, frozenset(params)).expand(source)
    ranks = {RANK_IN: Range(1.0, MOST_CANDIDATES)}
    now = RangeWalk({**inputs, **ranks, **params})
    score = now.range_of(root)
    ever = RangeWalk({**inputs, **ranks, **bounds})
    ever.range_of(root)
    life = Life(ever.ranges)
    life.visit(root)
    doubts = [*now.doubts, *signs_of(root, now.ranges, heads), *life.doubts]
    once = {(doubt.kind, doubt.place): doubt for doubt in reversed(doubts)}
    return Survey(
        score, tuple(reversed(once.values())), frozenset(life.matter), frozenset(life.idle)
    )
