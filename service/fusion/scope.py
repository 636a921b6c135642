"""What the names of a formula mean, heads to lets: one name, one meaning."""

import graphlib
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from service.fusion.errors import FormulaError, Span, nearest
from service.fusion.functions import NAMED
from service.fusion.parser import Signature, parse, parse_signature
from service.fusion.tree import Call, Name, Node, postorder

MAX_LET_NESTING = 64  # lets that use lets that use lets …

_LISTED = 12  # known names shown in a message

Meaning = Literal["head", "attribute", "scalar", "param", "let", "built-in name", "function"]
RANK_IN = "rank_in"


@dataclass(frozen=True)
class Let:
    """A named value or function: `key` is its left side as written, `source` the text of `tree`."""

    key: str
    signature: Signature
    source: str
    tree: Node

    @property
    def where(self) -> str:
        return f"let {self.key}"


@dataclass(frozen=True)
class Scope:
    """Every name a formula may use, and the values of params and lets."""

    meanings: Mapping[str, Meaning]
    params: Mapping[str, float]
    lets: Mapping[str, Let]

    def unknown(self, name: str, parameters: Collection[str]) -> tuple[str, str | None]:
        """(sentence, suggestion) for a name that stands for no value here."""
        if name in NAMED:
            return f"{name} is a function: write it with its arguments, {name}(…)", None
        values = [n for n, m in self.meanings.items() if m != "function"]
        return _unknown("name", name, [*parameters, *values])

    def not_a_function(self, name: str) -> tuple[str, str | None]:
        """(sentence, suggestion) for a name that cannot be called."""
        if name in self.meanings:
            return f"{name} is {_a(self.meanings[name])}, not a function", None
        functions = [let.signature.name for let in self.lets.values() if let.signature.parameters]
        return _unknown("function", name, [*functions, *NAMED])


def read_scope(
    *,
    lets: Mapping[str, str],
    params: Mapping[str, float],
    heads: Collection[str],
    attributes: Collection[str],
    scalars: Collection[str],
) -> Scope:
    """All names with their meanings; the lets are parsed, and none uses itself.

    Raises:
        FormulaError: two meanings of one name, a param that is no finite number, a bad let.
    """
    parsed = [
        Let(key, parse_signature(key), source, parse(source, f"let {key}"))
        for key, source in lets.items()
    ]
    meanings: dict[str, Meaning] = dict.fromkeys(NAMED, "function")
    given: list[tuple[Meaning, Collection[str]]] = [
        ("head", sorted(heads)),
        ("attribute", sorted(attributes)),
        ("scalar", sorted(scalars)),
        ("param", list(params)),
        ("let", [let.signature.name for let in parsed]),
        ("built-in name", [RANK_IN]),
    ]
    for meaning, names in given:
        for name in names:
            taken = meanings.get(name)
            # A model may well call a head `rank`: a function stands only before a bracket.
            if taken is None or (taken == "function" and meaning in ("head", "attribute")):
                meanings[name] = meaning
            else:
                raise _clash(name, taken, meaning)
    for let in parsed:
        _check_parameters(let, meanings)
    for name, value in params.items():
        # Written so that NaN and integers beyond float64 fail it too.
        if isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            message = f"param {name} must be a finite number; it is {value!r}"
            raise FormulaError(message, source=name, span=(0, len(name)), where="params")
    named = {let.signature.name: let for let in parsed}
    _check_order(named)
    return Scope(meanings, {n: float(v) for n, v in params.items()}, named)


def _unknown(what: str, name: str, known: list[str]) -> tuple[str, str | None]:
    suggestion = nearest(name, known)
    meant = f": did you mean {suggestion!r}?" if suggestion else ""
    listed = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return f"unknown {what} {name[:64]!r}{meant} (known: {listed})", suggestion


def _a(meaning: Meaning) -> str:
    return f"an {meaning}" if meaning == "attribute" else f"a {meaning}"


def _clash(name: str, one: Meaning, other: Meaning) -> FormulaError:
    twice = f"two {one}s" if one == other else f"both {_a(one)} and {_a(other)}"
    message = f"{name!r} is {twice}: a name has one meaning"
    return FormulaError(message, source=name, span=(0, len(name)), where=other)


def _check_parameters(let: Let, meanings: Mapping[str, Meaning]) -> None:
    parameters = let.signature.parameters
    for parameter in parameters:
        start = let.key.index(parameter, let.key.index("("))
        place: Span = (start, start + len(parameter))
        if parameters.count(parameter) > 1:
            message = f"{parameter!r} is a parameter twice"
            raise FormulaError(message, source=let.key, span=place, where="let")
        if parameter in meanings:
            message = f"parameter {parameter!r} has the name of {_a(meanings[parameter])}"
            raise FormulaError(message, source=let.key, span=place, where="let")


def _uses(let: Let, lets: Mapping[str, Let]) -> dict[str, Node]:
    return {
        str(node.label): node
        for node in postorder(let.tree)
        if isinstance(node, Name | Call) and node.label in lets
    }


def _check_order(lets: Mapping[str, Let]) -> None:
    """No let reaches itself, and no chain of lets is too long to compile."""
    uses = {name: _uses(let, lets) for name, let in lets.items()}
    depth: dict[str, int] = {}
    try:
        order = list(graphlib.TopologicalSorter(uses).static_order())
    except graphlib.CycleError as error:
        cycle = error.args[1][::-1]
        let, node = lets[cycle[0]], uses[cycle[0]][cycle[1]]
        message = f"a let may not use itself: {' → '.join(cycle)}"
        raise FormulaError(message, source=let.source, span=_mark(node), where=let.where) from None
    for name in order:
        depth[name] = 1 + max((depth[used] for used in uses[name]), default=0)
        if depth[name] > MAX_LET_NESTING:
            let = lets[name]
            message = f"lets that use lets nest deeper than {MAX_LET_NESTING}"
            raise FormulaError(message, source=let.source, where=let.where)


def _mark(node: Node) -> Span:
    return node.mark if isinstance(node, Call) else node.span
