"""The formula language: heads, attributes and scalars in, one score a candidate out.

Knows names, not Redis, HTTP or ONNX. Reads top-down: `parser` (text to tree, by grammar.lark),
`scope` (what names mean), `compiler` and `condition` (tree to what runs), `functions` (the table),
`program`, `explain`.
"""

from service.fusion.compiler import Formula, compile_formula
from service.fusion.condition import Condition, compile_condition
from service.fusion.errors import FormulaError
from service.fusion.explain import Explanation, Term
from service.fusion.program import MissingInput, Scores, order

__all__ = [
    "Condition",
    "Explanation",
    "Formula",
    "FormulaError",
    "MissingInput",
    "Scores",
    "Term",
    "compile_condition",
    "compile_formula",
    "order",
]
