"""Text to `Formula`: the compiled score that scoring calls and explain takes apart."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from service.fusion.emitter import Emitter, Text
from service.fusion.explain import Explanation, Mode, decompose, explanations
from service.fusion.functions import Kind, per_candidate
from service.fusion.parser import parse
from service.fusion.program import MEMBERS, Columns, Program, Scores
from service.fusion.scope import RANK_IN, Let, Scope, read_scope
from service.fusion.tree import Name, Node


@dataclass(frozen=True)
class Formula:
    """A compiled formula: immutable, safe to share between threads.

    Attributes:
        source: the text of the score.
        tree: its tree; `str(formula)` writes it, and parses back to it.
        heads: heads it uses, through its lets too.
        attributes: item attributes it uses.
        params: params it uses.
        scalars: scalars it uses, as "context.hour" or "user.age".
    """

    source: str
    tree: Node
    heads: frozenset[str]
    attributes: frozenset[str]
    params: frozenset[str]
    scalars: frozenset[str]
    _program: Program = field(repr=False)
    _mode: Mode = field(repr=False)
    _terms: tuple[tuple[str, int], ...] = field(repr=False)  # (text, slot)
    _scope: Scope = field(repr=False, compare=False)

    @property
    def inputs(self) -> frozenset[str]:
        """The columns it reads: heads and attributes."""
        return self.heads | self.attributes

    @property
    def lets(self) -> dict[str, str]:
        """Its functions and named values as given: "f(x)" or "name" -> text."""
        return {let.key: let.source for let in self._scope.lets.values()}

    def tunable(self) -> Callable[..., Scores]:
        """`(params, columns, scalars, rows)` -> scores under other values of its params.

        Slower than the formula itself, whose params are folded into its constants.
        """
        emitter = Emitter(self._scope, tunable=True)
        score = emitter.emit(self.tree, Text(self.source, "score"))
        program = _program(emitter, score.slot, len(emitter.steps), self._scope)
        slots = {name: emitter.used[name] for name in self.params}

        def scores(
            params: Mapping[str, float], columns: Columns, scalars: Mapping[str, float], rows: int
        ) -> Scores:
            constants = list(program.constants)
            for name, slot in slots.items():
                constants[slot] = params[name]
            return replace(program, constants=tuple(constants)).run(columns, scalars, rows)[1]

        return scores

    def __str__(self) -> str:
        return str(self.tree)

    @property
    def by_itself(self) -> bool:
        """Whether a candidate's score depends on its own values alone, and not on the others or on
        its place among them: rows of many requests may then be scored in one call.
        """
        return not self._program.across and self._program.rank_in is None

    def __call__(
        self, columns: Columns, scalars: Mapping[str, float] | None = None, *, rows: int
    ) -> Scores:
        """Scores of N candidates.

        Args:
            columns: (N,) values of every head and attribute used; float32 is widened.
            scalars: values of every scalar used.
            rows: N.

        Raises:
            MissingInput: a value that the formula uses is not given.
            ValueError: a column whose shape is not (N,).
        """
        return self._program.run(columns, scalars or {}, rows)[1]

    def explain(
        self, columns: Columns, scalars: Mapping[str, float] | None = None, *, rows: int
    ) -> list[Explanation]:
        """The terms behind each score of the same call; costs nothing when not called."""
        slots, scores = self._program.run(columns, scalars or {}, rows, all_steps=True)
        values = np.array([per_candidate(slots[slot], rows) for _, slot in self._terms])
        texts = [text for text, _ in self._terms]
        return explanations(self._mode, texts, values, scores, str(self))


def compile_formula(
    source: str,
    *,
    lets: Mapping[str, str] | None = None,
    params: Mapping[str, float] | None = None,
    heads: Collection[str],
    attributes: Collection[str] = (),
    scalars: Collection[str] = (),
) -> Formula:
    """Compile a score.

    Args:
        source: an expression.
        lets: "f(x)" (a function) or "name" (a value) -> expression.
        params: numbers bound now.
        heads: names of the model's heads.
        attributes: names of the item attributes.
        scalars: full names of request-side values, "context.hour" or "user.age".

    Raises:
        FormulaError: anything wrong, with the place.
    """
    scope = read_scope(
        lets=lets or {},
        params=params or {},
        heads=heads,
        attributes=attributes,
        scalars=scalars,
    )
    tree = parse(source)
    for let in scope.lets.values():
        Emitter(scope).check(let)
    emitter = Emitter(scope)
    text = Text(source, "score")
    score = emitter.emit(tree, text)
    if score.kind is not Kind.NUMBER:
        raise text.error("the score must be a number, not a comparison", tree.span)
    scored = len(emitter.steps)
    mode, terms = decompose(_beyond_lets(tree, scope.lets))
    slots = tuple((str(term), emitter.emit(term, text).slot) for term in terms)
    used = {
        meaning: frozenset(n for n in emitter.used if scope.meanings[n] == meaning)
        for meaning in ("head", "attribute", "param", "scalar")
    }
    return Formula(
        source,
        tree,
        heads=used["head"],
        attributes=used["attribute"],
        params=used["param"],
        scalars=used["scalar"],
        _program=_program(emitter, score.slot, scored, scope),
        _mode=mode,
        _terms=slots,
        _scope=scope,
    )


def _program(emitter: Emitter, score: int, scored: int, scope: Scope) -> Program:
    """The emitted steps; the first `scored` of them give the score."""
    used = sorted(emitter.used)
    columns = [n for n in used if scope.meanings[n] in ("head", "attribute")]
    return Program(
        constants=tuple(emitter.constants),
        columns=tuple((emitter.used[n], n) for n in columns),
        scalars=tuple((emitter.used[n], n) for n in used if scope.meanings[n] == "scalar"),
        rank_in=emitter.used.get(RANK_IN),
        steps=tuple(emitter.steps),
        score=score,
        scored=scored,
        across=any(MEMBERS in step.inputs for step in emitter.steps),
    )


def _beyond_lets(tree: Node, lets: Mapping[str, Let]) -> Node:
    """What a score that is only the name of a let stands for: its terms are the score's."""
    while isinstance(tree, Name) and tree.name in lets:
        tree = lets[tree.name].tree
    return tree
