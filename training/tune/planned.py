"""A formula of a plan as the search sees it: bounded params in, compiled formula or draft out."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.experiment.document import Param, Plan
from service.experiment.errors import PlanInvalid
from service.experiment.forms import FormulaText, terms, weight_name, write_out
from service.experiment.plan import parse_plan
from service.fusion import Formula, compile_formula
from service.fusion.errors import nearest
from training.tune.errors import TuneError


@dataclass(frozen=True)
class PlannedFormula:
    """One formula of a plan document, compiled by the language and compiler that serving uses."""

    document: Mapping[str, Any]
    plan: Plan
    name: str
    text: FormulaText

    @classmethod
    def read(cls, path: Path, name: str | None) -> "PlannedFormula":
        """The formula `name`, or the plan's default one.

        Raises:
            TuneError: no plan, or no such formula.
        """
        try:
            content = path.read_bytes()
            plan = parse_plan(content)
        except PlanInvalid as err:
            raise TuneError(f"{path} is no plan: {err}") from err
        name = name or plan.default.formula
        if name not in plan.formulas:
            near = nearest(name, plan.formulas)
            meant = f"; did you mean {near!r}?" if near else ""
            known = ", ".join(plan.formulas)
            raise TuneError(f"{path} has no formula {name!r}{meant} (it has: {known})")
        return cls(json.loads(content), plan, name, write_out(plan.formulas[name]))

    def searched(self, only: Collection[str] = ()) -> dict[str, Param]:
        """The params to search, all that can move unless `only` names some.

        Raises:
            TuneError: a name that is no param of the formula, or nothing to search.
        """
        if unknown := [name for name in only if name not in self.text.params]:
            known = ", ".join(self.text.params) or "none"
            raise TuneError(f"formula {self.name!r} has no param {unknown[0]!r} (it has: {known})")
        found = {
            name: param
            for name, param in self.text.params.items()
            if (name in only or not only) and param.min < param.max
        }
        if not found:
            raise TuneError(f"formula {self.name!r} has no param with room between its bounds")
        return found

    @property
    def values(self) -> dict[str, float]:
        """What the params are in the plan: the control."""
        return {name: param.value for name, param in self.text.params.items()}

    def compile(
        self, values: Mapping[str, float], *, heads: Collection[str], attributes: Collection[str]
    ) -> Formula:
        """The formula with some params changed.

        Raises:
            FormulaError: it does not compile against these heads and attributes.
        """
        return compile_formula(
            self.text.score,
            lets=self.text.let,
            params={**self.values, **values},
            heads=heads,
            attributes=attributes,
        )

    def draft(self, values: Mapping[str, float]) -> dict[str, Any]:
        """The plan document with these values in the formula; nothing else changes."""
        document = json.loads(json.dumps(self.document))
        spec = document["formulas"][self.name]
        weights = {weight_name(head): head for head in terms(self.plan.formulas[self.name])}
        for name, value in values.items():
            if name in weights:
                form = next(f for f in ("multiplicative", "additive") if f in spec)
                given = spec[form][weights[name]]
                bare = not isinstance(given, dict)
                spec[form][weights[name]] = value if bare else {**given, "weight": value}
            else:
                spec["params"][name]["value"] = value
        return document
