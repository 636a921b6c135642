"""A condition on request-wide values, `context.tab == 1`: the formula language, true or false."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from service.fusion.emitter import Emitter, Text
from service.fusion.functions import FUNCTIONS, Kind, Value
from service.fusion.parser import parse
from service.fusion.scope import read_scope
from service.fusion.tree import Call, Name, Node, postorder

WHERE = "when"
_SIDES = ("context", "user")
_REMEMBERED = 1024  # decisions


@dataclass(frozen=True)
class Condition:
    """A compiled condition: immutable, safe to share between threads.

    Attributes:
        source: its text.
        scalars: full names of the values it reads, "context.tab" or "user.is_new".
    """

    source: str
    scalars: tuple[str, ...]
    _decide: Callable[[tuple[float, ...]], bool] = field(repr=False, compare=False)

    def __call__(self, values: tuple[float, ...]) -> bool:
        """Whether it is met by the values of `scalars`, in their order; NaN where absent.

        What is absent or no finite number meets neither a comparison nor its opposite.
        """
        return self._decide(values)


def compile_condition(source: str) -> Condition:
    """Compile a condition; it may read any `context.<name>` and `user.<name>`.

    Raises:
        FormulaError: anything wrong, with the place.
    """
    text, tree = Text(source, WHERE), parse(source, WHERE)
    for node in postorder(tree):
        if problem := _foreign(node):
            raise text.error(problem, node.span)
    names = sorted({node.name for node in postorder(tree) if isinstance(node, Name)})
    scope = read_scope(lets={}, params={}, heads=(), attributes=(), scalars=names)
    emitter = Emitter(scope)
    result = emitter.emit(tree, text)
    if result.kind is not Kind.BOOLEAN:
        message = "a condition compares, as in context.tab == 1; this is a number"
        raise text.error(message, tree.span)
    places = tuple(emitter.used[name] for name in names)
    constants, steps = tuple(emitter.constants), tuple(emitter.steps)

    def decide(values: tuple[float, ...]) -> bool:
        slots: list[Value] = list(constants)  # type: ignore[arg-type]  # filled below
        for slot, value in zip(places, values, strict=True):
            slots[slot] = value
        with np.errstate(all="ignore"):
            for step in steps:
                slots[step.out] = step.call(*[slots[i] for i in step.inputs])
        return bool(slots[result.slot] == 1.0)

    # Tabs, hours and flags take few values: deciding once is twenty times as quick.
    return Condition(source, tuple(names), lru_cache(_REMEMBERED)(decide))


def _foreign(node: Node) -> str | None:
    """What a node wants of candidates, which a condition does not have."""
    if isinstance(node, Name):
        side, dot, _ = node.name.partition(".")
        if not dot or side not in _SIDES:
            return f"a condition reads context.<name> and user.<name>, not {node.name!r}"
    if isinstance(node, Call) and node.function in FUNCTIONS and FUNCTIONS[node.function].across:
        return f"{node.function} looks across candidates; a condition has none"
    return None
