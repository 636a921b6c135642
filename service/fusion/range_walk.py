"""The range of every node of a formula, by what its inputs and its conditions allow."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from service.fusion.doubt import Doubt, Kind, text_of
from service.fusion.expand import Placed
from service.fusion.functions import FUNCTIONS
from service.fusion.range_rules import REMOTE, range_of
from service.fusion.ranges import EMPTY, Range, point
from service.fusion.refine import Known, refine


@dataclass
class RangeWalk:
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
            elif node.label in LAZY:
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
        for truth, branch in LAZY[str(node.label)]:
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
            self.doubts.append(Doubt(kind, f"{text_of(node)} {problem}", node.place))
        return found


# label -> (value of the first operand, index of the branch it leads to; None: it is the answer)
LAZY: dict[str, tuple[tuple[int, int | None], ...]] = {
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
