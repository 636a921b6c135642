"""What a formula can do over the observed ranges of its inputs: how far it goes, where it breaks.

Walks the formula twice: with its params as they are, for what may go wrong, and with each param
anywhere within its bounds, for what can never matter. Ranges are sound: no value within them is
missed. They are not exact: what two names have to do with each other is not known, so a doubt says
"may".
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from service.fusion.errors import Place
from service.fusion.expand import Expander, Placed
from service.fusion.functions import FUNCTIONS
from service.fusion.ranges import (
    EMPTY,
    FALSE,
    MOST_CANDIDATES,
    REMOTE,
    TRUE,
    UNKNOWN,
    Range,
    point,
    range_of,
)
from service.fusion.refine import Known, refine
from service.fusion.scope import RANK_IN
from service.fusion.tree import UNARY_MINUS

Kind = Literal["invalid", "remote", "sign", "constant", "branch", "idle"]


@dataclass(frozen=True)
class Doubt:
    """Something about a formula that is legal and looks wrong.

    `kind`: "invalid" (may have no value), "remote" (the same, only next to 0, where no head is),
    "sign" (a factor that may be ≤ 0), "constant" (a term that is always the same), "branch" (never
    taken), "idle" (never changes the order).
    """

    kind: Kind
    message: str
    place: Place


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
    now = _Walk({**inputs, **ranks, **params})
    score = now.range_of(root)
    ever = _Walk({**inputs, **ranks, **bounds})
    ever.range_of(root)
    life = _Life(ever.ranges)
    life.visit(root)
    doubts = [*now.doubts, *_signs(root, now.ranges, heads), *life.doubts]
    once = {(doubt.kind, doubt.place): doubt for doubt in reversed(doubts)}
    return Survey(
        score, tuple(reversed(once.values())), frozenset(life.matter), frozenset(life.idle)
    )


@dataclass
class _Walk:
    """Ranges of every node that is evaluated, over given ranges of the names."""

    names: Mapping[str, Range]
    ranges: dict[int, Range] = field(default_factory=dict)  # id of a node -> its range
    doubts: list[Doubt] = field(default_factory=list)

    def range_of(self, root: Placed) -> Range:
        """The range of a tree; walked without recursion, for a chain is as deep as it is long."""
        waiting = [self._visit(root, {})]
        answer: Range | None = None
        while waiting:
            try:
                node, known = waiting[-1].send(answer) if answer else next(waiting[-1])
            except StopIteration as done:
                waiting.pop()
                answer = done.value
            else:
                waiting.append(self._visit(node, known))
                answer = None
        assert answer is not None
        return answer

    def _visit(self, node: Placed, known: Known) -> Generator[tuple[Placed, Known], Range, Range]:
        found = known.get(node.key)
        if found is None:
            if not isinstance(node.label, str):
                found = point(node.label)
            elif not node.operands:
                found = self.names[node.label]
            elif node.label in _LAZY:
                found = yield from self._lazy(node, known)
            else:
                operands = yield from self._operands(node, known)
                found = self._call(node, operands)
        before = self.ranges.get(id(node), EMPTY)
        self.ranges[id(node)] = before.join(found)
        return found

    def _operands(
        self, node: Placed, known: Known
    ) -> Generator[tuple[Placed, Known], Range, list[Range]]:
        found = []
        for operand in node.operands:
            found.append((yield operand, known))  # noqa: PERF401 - a comprehension cannot yield
        if known and FUNCTIONS[str(node.label)].across:
            # The other candidates are in the set whatever the condition says of this one.
            heard = len(self.doubts)
            found[0] = yield node.operands[0], {}
            del self.doubts[heard:]
        return found

    def _lazy(self, node: Placed, known: Known) -> Generator[tuple[Placed, Known], Range, Range]:
        """`if`, `and`, `or`: what the condition excludes is not evaluated."""
        condition, *branches = node.operands
        first = yield condition, known
        if first.empty:
            return EMPTY
        found = EMPTY
        for truth, branch in _LAZY[str(node.label)]:
            if not first.holds(truth):
                continue
            if branch is None:
                found = found.join(point(truth))
            else:
                within = refine(known, condition, bool(truth), self.ranges)
                found = found.join((yield branches[branch], within))
        return found

    def _call(self, node: Placed, operands: list[Range]) -> Range:
        label = str(node.label)
        if len(operands) == 2 and node.operands[0].key == node.operands[1].key:
            label, operands = _twice(label, operands)
        found, problem = range_of(label, *operands)
        if problem:
            kind: Kind = "remote" if problem == REMOTE else "invalid"
            self.doubts.append(Doubt(kind, f"{_text(node)} {problem}", node.place))
        return found


# label -> (value of the first operand, index of the branch it leads to; None: it is the answer)
_LAZY: dict[str, tuple[tuple[int, int | None], ...]] = {
    "if": ((1, 0), (0, 1)),
    "and": ((1, 0), (0, None)),
    "or": ((0, 0), (1, None)),
}


def _twice(label: str, operands: list[Range]) -> tuple[str, list[Range]]:
    """That x * x is never negative, and x - x is 0."""
    if label == "*":
        return "^", [operands[0], point(2.0)]
    if label == "-" and not operands[0].empty:
        return "+", [point(0.0), point(0.0)]
    return label, operands


@dataclass
class _Life:
    """What of a formula can change the order at all, wherever its params are."""

    ranges: Mapping[int, Range]
    doubts: list[Doubt] = field(default_factory=list)
    matter: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)

    def visit(self, root: Placed) -> None:
        if not root.differs:
            message = "the score is the same for every candidate of a request"
            self.doubts.append(Doubt("constant", message, root.place))
            return
        idle = list(self._idle(root))
        self.doubts += idle
        skipped = {doubt.place for doubt in idle}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.place not in skipped:
                waiting += reversed(list(self._alive(node)))

    def _alive(self, node: Placed) -> Iterator[Placed]:
        """The operands that matter of a node that does."""
        if not node.inputs:
            self.matter |= node.params
            return
        if id(node) not in self.ranges:  # known from a condition: what is in it was seen there
            yield from node.operands
            return
        found = self.ranges[id(node)]
        if found.empty:
            return
        if node.operands and found.is_point:
            what = _ALWAYS.get((found.low, _is_boolean(node)), f"is always {found.low:g}")
            self._doubt("constant", node, f"{_text(node)} {what}")
            return
        if node.label in _LAZY:
            yield from self._branches(node)
        elif node.label in {"min", "max"}:
            yield from self._extremes(node)
        else:
            yield from node.operands

    def _branches(self, node: Placed) -> Iterator[Placed]:
        condition, *branches = node.operands
        first = self.ranges.get(id(condition))
        if first not in (TRUE, FALSE):
            yield from node.operands
            return
        for truth, branch in _LAZY[str(node.label)]:
            if branch is not None and first == point(truth):
                yield branches[branch]
            elif branch is not None:
                what = "true" if first == TRUE else "false"
                message = f"{_text(branches[branch])} is never used: {_text(condition)} is {what}"
                self._doubt("branch", branches[branch], f"{message} over the observed ranges")

    def _extremes(self, node: Placed) -> Iterator[Placed]:
        ranges = [self.ranges.get(id(o), UNKNOWN) for o in node.operands]
        least, most = max(r.low for r in ranges), min(r.high for r in ranges)
        for operand, found in zip(node.operands, ranges, strict=True):
            never = found.low > most if node.label == "min" else found.high < least
            if not never:
                yield operand
            elif operand.inputs:
                other = "smallest" if node.label == "min" else "largest"
                self._doubt("constant", operand, f"{_text(operand)} is never the {other}: {found}")

    def _idle(self, root: Placed) -> Iterator[Doubt]:
        """Top-level terms of params that treat all candidates alike."""
        signs = _PRODUCT if root.label in _PRODUCT else _SUM
        for term in _terms(root, signs):
            found = self.ranges.get(id(term), EMPTY)
            if term.differs or not term.params or found.empty:
                continue
            if signs is _SUM:
                what = "adds the same to every score"
            elif found.low > 0:
                what = "scales every score alike"
            else:
                continue
            self.idle |= term.params
            yield Doubt("idle", f"{_text(term)} {what}: the order never depends on it", term.place)

    def _doubt(self, kind: Kind, node: Placed, message: str) -> None:
        self.doubts.append(Doubt(kind, message, node.place))


_PRODUCT, _SUM = ("*", "/"), ("+", "-")
_ALWAYS = {(1.0, True): "is always true", (0.0, True): "is always false"}


def _is_boolean(node: Placed) -> bool:
    return node.label in {"<", "<=", ">", ">=", "==", "!=", "and", "or", "not"}


def _terms(root: Placed, signs: tuple[str, ...]) -> Iterator[Placed]:
    """The operands of the top-level product or sum."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.label in signs or node.label == UNARY_MINUS:
            waiting += reversed(node.operands)
        else:
            yield node


def _signs(root: Placed, ranges: Mapping[int, Range], heads: frozenset[str]) -> Iterator[Doubt]:
    """Factors that make a product 0 or turn the order around."""
    if root.label not in _PRODUCT:
        return
    for term in _terms(root, _PRODUCT):
        found = ranges.get(id(term), EMPTY)
        if found.empty or not term.differs:
            continue
        curve = not term.inputs & heads  # of an attribute, such as f(videolen_s)
        if found.low < 0:
            what = "may be negative, which turns the order around"
        elif found.low == 0 and curve and term.operands:
            what = "may be 0, which makes the whole product 0"
        else:
            continue
        yield Doubt("sign", f"{_text(term)} {what}: it is {found}", term.place)


def _text(node: Placed) -> str:
    first, last = node.place.span
    text = " ".join(node.place.source[first:last].split())
    return text if len(text) <= 40 else f"{text[:39]}…"
