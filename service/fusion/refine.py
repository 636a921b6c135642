"""What a condition that holds, or does not, says about the ranges of what it compares."""

import math
from collections.abc import Mapping

from service.fusion.expand import Placed
from service.fusion.ranges import EMPTY, Range

Known = Mapping[int, Range]  # key of an expression -> its range, narrowed by a condition

_NOT = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def refine(known: Known, condition: Placed, truth: bool, ranges: Mapping[int, Range]) -> Known:
    """`known`, narrowed by a condition being `truth`; `ranges` by the id of a node."""
    narrowed = dict(known)
    waiting = [(condition, truth)]
    while waiting:
        node, holds = waiting.pop()
        if node.label == "not":
            waiting.append((node.operands[0], not holds))
        elif node.label == ("and" if holds else "or"):
            waiting += [(operand, holds) for operand in node.operands]
        elif node.label in _NOT:
            sign = str(node.label) if holds else _NOT[str(node.label)]
            left, right = (narrowed.get(o.key, ranges.get(id(o), EMPTY)) for o in node.operands)
            for operand, found in zip(node.operands, _narrow(sign, left, right), strict=True):
                if operand.inputs or operand.params:
                    narrowed[operand.key] = found
    return narrowed


def _narrow(sign: str, left: Range, right: Range) -> tuple[Range, Range]:
    """Both sides, given that `left sign right` holds."""
    if sign in {">", ">="}:
        high, low = _narrow("<" if sign == ">" else "<=", right, left)
        return low, high
    if left.empty or right.empty:
        return left, right
    if sign == "==":
        both = left.meet(right)
        return both, both
    if sign == "!=":
        return _without(left, right), _without(right, left)
    most, least = right.high, left.low
    if sign == "<":
        most, least = math.nextafter(most, -math.inf), math.nextafter(least, math.inf)
    return Range(left.low, min(left.high, most)), Range(max(right.low, least), right.high)


def _without(one: Range, other: Range) -> Range:
    """`one` without the single value that `other` is, where that is one of its ends."""
    if other.low != other.high:
        return one
    low, high = one.low, one.high
    if low == other.low:
        low = math.nextafter(low, math.inf)
    if high == other.low:
        high = math.nextafter(high, -math.inf)
    return Range(low, high)
