"""Tree to steps: names bound, kinds and arity checked, lets expanded, constants folded."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.fusion.errors import FormulaError, Span
from service.fusion.functions import FUNCTIONS, Function, Kind
from service.fusion.program import MEMBERS, Step
from service.fusion.scope import Let, Scope
from service.fusion.tree import Call, Name, Node, Number, fold

MAX_NODES = 512  # of a formula once its lets are expanded


@dataclass(frozen=True)
class Text:
    """The text that nodes were parsed from, for errors."""

    source: str
    where: str

    def error(self, message: str, span: Span, suggestion: str | None = None) -> FormulaError:
        return FormulaError(
            message, source=self.source, span=span, suggestion=suggestion, where=self.where
        )


@dataclass(frozen=True)
class Operand:
    """An emitted expression: where its value will be, what it is, its nodes once expanded.

    The kind is None only for parameters of a let that is checked by itself.
    """

    slot: int
    kind: Kind | None
    nodes: int


class Emitter:
    """Steps of expressions over one scope. Equal expressions share a slot, so each runs once.

    `tunable`: nothing that depends on a param is computed yet, so that the params' slots may be
    given other values.
    """

    def __init__(self, scope: Scope, *, tunable: bool = False) -> None:
        self.constants: list[float | None] = [None]  # slot 0: MEMBERS
        self.steps: list[Step] = []
        self.used: dict[str, int] = {}  # name -> slot
        self._scope = scope
        self._tunable = tunable
        self._free: set[int] = set()  # slots whose constants may change
        self._slots: dict[tuple[str, tuple[int, ...]] | float, int] = {}
        self._visited = 0
        self._alone = False

    def check(self, let: Let) -> None:
        """Everything about a let that does not depend on how it is called."""
        self._alone = True
        parameters = {p: Operand(self._new_slot(None), None, 1) for p in let.signature.parameters}
        self.emit(let.tree, Text(let.source, let.where), parameters)

    def emit(
        self, tree: Node, text: Text, parameters: Mapping[str, Operand] | None = None
    ) -> Operand:
        self._visited = 0
        return self._emit(tree, text, parameters or {})

    def _emit(self, tree: Node, text: Text, parameters: Mapping[str, Operand]) -> Operand:
        def visit(node: Node, operands: list[Operand]) -> Operand:
            self._visited += 1
            match node:
                case Number(value=value):
                    operand = Operand(self._constant(value), Kind.NUMBER, 1)
                case Name(name=name) if name in parameters:
                    operand = parameters[name]
                case Name():
                    operand = self._name(node, text, parameters)
                case Call(function=function) if function in FUNCTIONS:
                    operand = self._call(node, operands, text)
                case Call():
                    operand = self._let_call(node, operands, text)
                case _:
                    raise AssertionError(f"unknown node {node!r}")
            if max(operand.nodes, self._visited) > MAX_NODES:
                message = f"the formula has more than {MAX_NODES} nodes once its lets are expanded"
                raise text.error(message, node.span)
            return operand

        return fold(tree, visit)

    def _name(self, node: Name, text: Text, parameters: Mapping[str, Operand]) -> Operand:
        name = node.name
        let = self._scope.lets.get(name)
        if let is not None:
            if let.signature.parameters:
                raise text.error(f"{name} is a function: write {let.key}", node.span)
            return self._emit(let.tree, Text(let.source, let.where), {})
        if name not in self._scope.meanings or self._scope.meanings[name] == "function":
            message, suggestion = self._scope.unknown(name, parameters)
            raise text.error(message, node.span, suggestion)
        if name not in self.used:
            self.used[name] = self._new_slot(self._scope.params.get(name))
            if self._tunable:
                self._free.add(self.used[name])
        return Operand(self.used[name], Kind.NUMBER, 1)

    def _let_call(self, node: Call, operands: list[Operand], text: Text) -> Operand:
        name = node.function
        let = self._scope.lets.get(name)
        if let is None or not let.signature.parameters:
            message, suggestion = self._scope.not_a_function(name)
            raise text.error(message, node.mark, suggestion)
        wanted = let.signature.parameters
        _check_count(node, let.key, len(wanted), len(wanted), text)
        parameters = dict(zip(wanted, operands, strict=True))
        return self._emit(let.tree, Text(let.source, let.where), parameters)

    def _call(self, node: Call, operands: list[Operand], text: Text) -> Operand:
        function = FUNCTIONS[node.function]
        _check_count(node, function.usage, function.least, function.most, text)
        for position, (argument, operand) in enumerate(zip(node.operands, operands, strict=True)):
            wanted = function.kind_of(position)
            if operand.kind not in (wanted, None):
                found = "comparison" if operand.kind is Kind.BOOLEAN else "number"
                message = f"{function.usage} takes a {wanted.value} here, not a {found}"
                raise text.error(message, argument.span)
        known = [self.constants[o.slot] for o in operands]
        problem = None if self._alone else function.check(known)
        if problem:
            raise text.error(problem, node.span)
        nodes = 1 + sum(o.nodes for o in operands)
        slot = self._step(node.function, function, tuple(o.slot for o in operands))
        return Operand(slot, function.returns, nodes)

    def _step(self, name: str, function: Function, inputs: tuple[int, ...]) -> int:
        key = (name, inputs)
        if key not in self._slots:
            known = [c for c in (self.constants[i] for i in inputs) if c is not None]
            foldable = len(known) == len(inputs) and self._free.isdisjoint(inputs)
            if foldable and not function.across:
                with np.errstate(all="ignore"):
                    self._slots[key] = self._new_slot(float(function.call(*known)))
            else:
                self._slots[key] = out = self._new_slot(None)
                inputs = (MEMBERS, *inputs) if function.across else inputs
                self.steps.append(Step(out, function.call, inputs))
        return self._slots[key]

    def _constant(self, value: float) -> int:
        if value not in self._slots:
            self._slots[value] = self._new_slot(value)
        return self._slots[value]

    def _new_slot(self, constant: float | None) -> int:
        self.constants.append(constant)
        return len(self.constants) - 1


def _check_count(node: Call, usage: str, least: int, most: int | None, text: Text) -> None:
    given = len(node.operands)
    if given < least or (most is not None and given > most):
        wanted = f"{least}" if least == most else f"at least {least}"
        plural = "argument" if wanted == "1" else "arguments"
        message = f"{node.function} takes {wanted} {plural}, as in {usage}; {given} given"
        raise text.error(message, node.mark)
