"""What of a formula can change an order at all, and what may turn one around."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.fusion.doubt import Doubt, Kind, text_of
from service.fusion.expand import Placed
from service.fusion.range_walk import LAZY
from service.fusion.ranges import EMPTY, FALSE, TRUE, UNKNOWN, Range, point
from service.fusion.tree import UNARY_MINUS


@dataclass
class Life:
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
            self._doubt("constant", node, f"{text_of(node)} {what}")
            return
        if node.label in LAZY:
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
        for truth, branch in LAZY[str(node.label)]:
            if branch is not None and first == point(truth):
                yield branches[branch]
            elif branch is not None:
                what = "true" if first == TRUE else "false"
                message = (
                    f"{text_of(branches[branch])} is never used: {text_of(condition)} is {what}"
                )
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
                self._doubt(
                    "constant", operand, f"{text_of(operand)} is never the {other}: {found}"
                )

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
            yield Doubt(
                "idle", f"{text_of(term)} {what}: the order never depends on it", term.place
            )

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


def signs_of(root: Placed, ranges: Mapping[int, Range], heads: frozenset[str]) -> Iterator[Doubt]:
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
        yield Doubt("sign", f"{text_of(term)} {what}: it is {found}", term.place)
