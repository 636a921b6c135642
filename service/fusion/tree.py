"""The tree of a formula: three kinds of node, walked without recursion, and written back as text.

Operators are calls of a function named by their sign, so every pass over a tree is one `fold`.
A chain like 1+1+1… is as deep as it is long: no function here may recurse over a tree.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from service.fusion.errors import Span

UNARY_MINUS = "-x"  # no name that a formula can write, as are all signs

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """A place in a formula; equal to any node that writes the same tree, wherever it stands."""

    span: Span = field(default=(0, 0), kw_only=True)

    @property
    def arguments(self) -> tuple["Node", ...]:
        return ()

    @property
    def label(self) -> float | str:
        """What sets this node apart from others of its kind with the same arguments."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and _shape(self) == _shape(other)

    def __hash__(self) -> int:
        return hash(_shape(self))

    def __str__(self) -> str:
        return fold(self, _write)[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@dataclass(frozen=True, eq=False, repr=False)
class Number(Node):
    """A literal; never negative when it comes from a text, where minus is an operator."""

    value: float

    @property
    def label(self) -> float:
        return self.value


@dataclass(frozen=True, eq=False, repr=False)
class Name(Node):
    """A head, attribute, scalar, param, value let, or the parameter of a let."""

    name: str

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Call(Node):
    """A function or operator with its operands; `mark` is where its name or sign is written."""

    function: str
    operands: tuple[Node, ...]
    mark: Span = field(default=(0, 0), kw_only=True)

    @property
    def arguments(self) -> tuple[Node, ...]:
        return self.operands

    @property
    def label(self) -> str:
        return self.function


def postorder(root: Node) -> Iterator[Node]:
    """Every node, arguments before the node that uses them, left to right."""
    waiting, reverse = [root], []
    while waiting:
        node = waiting.pop()
        reverse.append(node)
        waiting.extend(node.arguments)
    return reversed(reverse)


def fold(root: Node, visit: Callable[[Node, list[Result]], Result]) -> Result:
    """The result of `visit(node, results of its arguments)` at the root, bottom-up."""
    results: list[Result] = []
    for node in postorder(root):
        first = len(results) - len(node.arguments)
        results[first:] = [visit(node, results[first:])]
    return results[0]


def _shape(root: Node) -> tuple[tuple[type[Node], float | str, int], ...]:
    # Postorder with the number of arguments determines a tree.
    return tuple((type(n), n.label, len(n.arguments)) for n in postorder(root))


_COMPARISON, _SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = 4, 5, 6, 7, 8, 9
# sign: (its level, lowest level that may stand left of it unbracketed, and right of it)
_INFIX = {
    "or": (1, 1, 2),
    "and": (2, 2, 3),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), (_COMPARISON, _SUM, _SUM)),
    **dict.fromkeys(("+", "-"), (_SUM, _SUM, _PRODUCT)),
    **dict.fromkeys(("*", "/"), (_PRODUCT, _PRODUCT, _SIGNED)),
    "^": (_POWER, _ATOM, _SIGNED),
}
_PREFIX = {"not": ("not ", 3), UNARY_MINUS: ("-", _SIGNED)}


def _write(node: Node, parts: list[tuple[str, int]]) -> tuple[str, int]:
    """(text, level) of a node from those of its arguments."""
    if isinstance(node, Number):
        whole = node.value.is_integer() and abs(node.value) < 1e15
        return (str(int(node.value)) if whole else repr(node.value)), _ATOM
    sign = str(node.label)
    if isinstance(node, Name):
        return sign, _ATOM
    if sign in _INFIX:
        level, left, right = _INFIX[sign]
        return f"{_bracket(parts[0], left)} {sign} {_bracket(parts[1], right)}", level
    if sign in _PREFIX:
        text, level = _PREFIX[sign]
        return text + _bracket(parts[0], level), level
    return f"{sign}({', '.join(text for text, _ in parts)})", _ATOM


def _bracket(part: tuple[str, int], lowest: int) -> str:
    text, level = part
    return text if level >= lowest else f"({text})"
