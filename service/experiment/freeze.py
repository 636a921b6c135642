"""A frozen plan: one of its formulas for everybody, whatever else the document says.

The way out when something is wrong and nobody knows what yet, so nothing but that formula and the
plan's own model is compiled: an arm that is broken cannot stand in the way.
"""

from collections.abc import Mapping
from typing import Any

from service.experiment.document import Default, Plan

KEY = "freeze"


def served(plan: Plan) -> Plan:
    """What of a plan is served: all of it, or, when it is frozen, the one formula."""
    if plan.freeze is None or plan.freeze.formula not in plan.formulas:
        return plan
    formula = plan.freeze.formula
    return plan.model_copy(
        update={
            "formulas": {formula: plan.formulas[formula]},
            "default": Default(formula=formula),
            "layers": (),
            "holdout": None,
            "shadow": None,
            "force": {},
        }
    )


def frozen(document: Mapping[str, Any], formula: str | None, reason: str) -> dict[str, Any]:
    """A copy of a plan document with the key set, or, without a formula, taken out."""
    thawed = {key: value for key, value in document.items() if key != KEY}
    return thawed if formula is None else {**thawed, KEY: {"formula": formula, "reason": reason}}
