"""Text to tree, by grammar.lark; every failure is a FormulaError that shows the place.

The parser is LALR: it keeps its own stack, so no text can exhaust Python's.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from service.fusion.errors import FormulaError, Span
from service.fusion.tree import UNARY_MINUS, Call, Name, Node, Number

MAX_BYTES = 4096  # of one text, as UTF-8
MAX_NESTING = 64  # brackets, those of calls among them

# What people type out of habit from other languages or keyboards, and what to write here.
_INSTEAD = {
    "=": "==",
    "&": "and",
    "|": "or",
    "!": "not",
    "?": "if(c, a, b)",
    "（": "(",
    "）": ")",
    "，": ",",
    "×": "*",
    "÷": "/",
    "−": "-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "[": "(",
    "]": ")",
    "{": "(",
    "}": ")",
}
_PLACEHOLDER = re.compile(r"\$\{?\s*([A-Za-z_][\w.]*)?\s*\}?")


@dataclass(frozen=True)
class Signature:
    """The left side of a let: a name, and its parameters if it is a function."""

    name: str
    parameters: tuple[str, ...]


def parse(source: str, where: str = "score") -> Node:
    """The tree of an expression.

    Raises:
        FormulaError: for anything that is not one expression, a text over 4 KiB, brackets nested
            deeper than 64, or a number that float64 cannot hold.
    """
    tree = _parse(source, "start", where)
    assert isinstance(tree, Node)
    return tree


def parse_signature(key: str) -> Signature:
    """The left side of a let: `boost` or `f(x, k)`."""
    signature = _parse(key, "signature", "let")
    assert isinstance(signature, Signature)
    for name in (signature.name, *signature.parameters):
        if "." in name:
            start = key.index(name)
            raise FormulaError(
                f"{name!r} has a dot: only scalars such as context.hour have one",
                source=key,
                span=(start, start + len(name)),
                where="let",
            )
    return signature


def _parse(source: str, start: str, where: str) -> object:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        message = f"the text has {size} bytes; the limit is {MAX_BYTES}"
        raise FormulaError(message, source=source, where=where)
    parser = _LARK.parse_interactive(source, start=start)
    opened: list[Token] = []
    try:
        for token in parser.iter_parse():
            if token.type == "LPAR":
                opened.append(token)
            elif token.type == "RPAR" and opened:
                opened.pop()
            problem = _problem(token, len(opened))
            if problem:
                raise FormulaError(problem, source=source, span=_span(token), where=where)
        return parser.feed_eof()  # type: ignore[no-untyped-call]
    except UnexpectedCharacters as error:
        raise _unexpected_character(source, cast(int, error.pos_in_stream), where) from None
    except UnexpectedToken as error:
        raise _unexpected_token(source, error, opened, where) from None


def _problem(token: Token, nesting: int) -> str | None:
    """What is wrong with a token by itself."""
    if token.type == "LPAR" and nesting > MAX_NESTING:
        return f"brackets nest deeper than {MAX_NESTING}"
    if token.type == "NUMBER":
        value = float(token)
        if math.isinf(value):
            return f"{token[:20]} is too large for a number"
        if value == 0 and re.search("[1-9]", re.split("[eE]", token)[0]):
            return f"{token[:20]} is too small for a number: it would be 0"
    return None


def _unexpected_character(source: str, at: int, where: str) -> FormulaError:
    placeholder = _PLACEHOLDER.match(source, at)
    if placeholder:
        name = placeholder.group(1)
        message = "names stand by themselves here, without '$'" + (
            f": write {name}" if name else ""
        )
        return FormulaError(
            message, source=source, span=placeholder.span(), suggestion=name, where=where
        )
    character = source[at]
    instead = _INSTEAD.get(character)
    message = f"{character!r} means nothing here" + (f": write {instead}" if instead else "")
    return FormulaError(message, source=source, span=(at, at + 1), suggestion=instead, where=where)


def _unexpected_token(
    source: str, error: UnexpectedToken, opened: list[Token], where: str
) -> FormulaError:
    token = error.token
    ended = token.type == "$END"
    span = (len(source.rstrip()), len(source.rstrip()) + 1) if ended else _span(token)
    value_wanted = bool(error.expected & {"NAME", "NUMBER"})
    if ended and not source.strip():
        message = "the text is empty: write an expression, such as ctr * cvr"
    elif ended and opened:
        message, span = "this bracket is never closed", _span(opened[-1])
    elif token.type == "RPAR" and "RPAR" not in error.expected and not value_wanted:
        message = "this bracket closes nothing"
    elif token.type == "COMPARISON" and not value_wanted:
        message = "comparisons do not chain: write a < b and b < c"
    else:
        value = "a number, a name or '('" if "NUMBER" in error.expected else "a name"
        wanted = value if value_wanted else "an operator or the end"
        message = f"expected {wanted}, found {'the end' if ended else repr(str(token)[:40])}"
    return FormulaError(message, source=source, span=span, where=where)


def _span(token: Token) -> Span:
    assert token.start_pos is not None
    return token.start_pos, token.start_pos + len(token)


@v_args(inline=True)
class _Build(Transformer[Token, Node]):
    """Grammar rules to nodes, called as the parser reduces them."""

    def number(self, token: Token) -> Node:
        return Number(float(token), span=_span(token))

    def name(self, token: Token) -> Node:
        return Name(str(token), span=_span(token))

    def prefix(self, sign: Token, operand: Node) -> Node:
        function = UNARY_MINUS if sign.type == "MINUS" else str(sign)
        whole = (_span(sign)[0], operand.span[1])
        return Call(function, (operand,), span=whole, mark=_span(sign))

    def infix(self, left: Node, sign: Token, right: Node) -> Node:
        function = "^" if sign.type == "POWER" else str(sign)
        whole = (left.span[0], right.span[1])
        return Call(function, (left, right), span=whole, mark=_span(sign))

    def group(self, opening: Token, inner: Node, closing: Token) -> Node:
        return replace(inner, span=(_span(opening)[0], _span(closing)[1]))

    def call(self, name: Token, _: Token, operands: tuple[Node, ...], closing: Token) -> Node:
        whole = (_span(name)[0], _span(closing)[1])
        return Call(str(name), operands, span=whole, mark=_span(name))

    def arguments(self, *operands: Node) -> tuple[Node, ...]:
        return operands

    def signature(self, name: Token, *rest: Token) -> Signature:
        return Signature(str(name), tuple(str(t) for t in rest if t.type == "NAME"))


_LARK = Lark.open(
    "grammar.lark",
    rel_to=__file__,
    parser="lalr",
    lexer="basic",  # keywords are never names, wherever they stand
    start=["start", "signature"],
    transformer=_Build(),
)
