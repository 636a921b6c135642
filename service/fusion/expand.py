"""A score with its lets written out, every node with the text and the place it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.fusion.errors import Place
from service.fusion.parser import Signature, parse, parse_signature
from service.fusion.scope import RANK_IN
from service.fusion.tree import Call, Name, Node, fold

_Lets = Mapping[str, tuple[str, Signature, Node]]  # name -> (key, signature, tree)


@dataclass(frozen=True, eq=False)
class Placed:
    """A node of a score without lets. Equal expressions have equal `key`s.

    `inputs`: every name below it that is no param, and `params` those that are.
    """

    key: int
    label: float | str
    operands: tuple["Placed", ...]
    inputs: frozenset[str]
    params: frozenset[str]
    place: Place

    @property
    def differs(self) -> bool:
        """Whether it may differ between the candidates of one request."""
        return any("." not in name for name in self.inputs)


class Expander:
    """Writes lets out; the formula must compile, so that their names and arities are right."""

    def __init__(self, lets: Mapping[str, str], params: frozenset[str]) -> None:
        self._params = params
        self._keys: dict[tuple[object, ...], int] = {}
        self._lets: _Lets = {
            signature.name: (key, signature, parse(text, f"let {key}"))
            for key, text in lets.items()
            for signature in (parse_signature(key),)
        }
        self._texts = {signature.name: lets[key] for key, signature, _ in self._lets.values()}

    def expand(self, source: str) -> Placed:
        """The score, its lets written out."""
        return self._expand(parse(source), source, "score", {})

    def _expand(
        self, tree: Node, source: str, where: str, parameters: Mapping[str, Placed]
    ) -> Placed:
        def visit(node: Node, operands: list[Placed]) -> Placed:
            place = Place(source, node.span, where)
            if isinstance(node, Name) and node.name in parameters:
                return parameters[node.name]
            if isinstance(node, Name | Call) and node.label in self._lets:
                key, signature, body = self._lets[str(node.label)]
                bound = dict(zip(signature.parameters, operands, strict=True))
                return self._expand(body, self._texts[signature.name], f"let {key}", bound)
            return self._node(node, operands, place)

        return fold(tree, visit)

    def _node(self, node: Node, operands: Sequence[Placed], place: Place) -> Placed:
        shape = (type(node), node.label, *(operand.key for operand in operands))
        named = frozenset([str(node.label)]) if isinstance(node, Name) else frozenset[str]()
        across = isinstance(node, Call) and node.function in {"rank", "rrf"}
        if across:  # equal in the others, a candidate's place still tells it apart
            named = frozenset([RANK_IN])
        return Placed(
            key=self._keys.setdefault(shape, len(self._keys)),
            label=node.label,
            operands=tuple(operands),
            inputs=(named - self._params).union(*(o.inputs for o in operands)),
            params=(named & self._params).union(*(o.params for o in operands)),
            place=place,
        )
