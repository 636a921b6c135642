"""Change params of a plan document. Pure: a document in, a changed document and what changed out.

Params are plan-wide names, so a new value goes into every formula that declares the name; the
weights of the structured forms are the params `w_<head>`. What arms set is left alone.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import Fault, InvalidRequest
from service.experiment.findings import did_you_mean, pointer

_FORMS = ("multiplicative", "additive")
_WEIGHT = "w_"

Document = dict[str, Any]


@dataclass(frozen=True)
class _Slot:
    """One declaration of a param: where it is, and the key of its value in the object form."""

    holder: dict[str, Any]
    key: str
    value_key: str

    def set(self, change: float | Mapping[str, float]) -> None:
        merged = dict(change) if isinstance(change, Mapping) else {"value": change}
        if "value" in merged:
            merged[self.value_key] = merged.pop("value")
        declared = self.holder[self.key]
        if isinstance(declared, dict):
            self.holder[self.key] = {**declared, **merged}
        elif merged.keys() == {self.value_key}:
            self.holder[self.key] = merged[self.value_key]  # a bare weight stays bare
        else:
            self.holder[self.key] = {self.value_key: declared, **merged}


def change_params(plan: Document, params: Mapping[str, float | Mapping[str, float]]) -> Document:
    """A copy of `plan` with the params changed: a number is the new value, an object is merged.

    Raises:
        InvalidRequest: a name that no formula declares, with the nearest one.
    """
    changed = copy.deepcopy(plan)
    slots: dict[str, list[_Slot]] = {}
    for name, slot in _slots(changed):
        slots.setdefault(name, []).append(slot)
    unknown = [name for name in params if name not in slots]
    if unknown:
        shared = any("from" in spec for spec in plan.get("formulas", {}).values())
        more = "; to change what a library declares, name it under the formula" if shared else ""
        faults = [
            Fault(
                f"no formula has a param {name!r}{did_you_mean(name, slots)}{more}",
                pointer("params", name),
            )
            for name in unknown
        ]
        raise InvalidRequest(faults[0].detail, faults=faults)
    for name, change in params.items():
        for slot in slots[name]:
            slot.set(change)
    return changed


def named_alone(plan: Document, name: str) -> str:
    """`base.c` as the plan-wide `c`, where formula `base` alone declares it; else `name`.

    Raises:
        InvalidRequest: other formulas declare it too, and would change with it.
    """
    formula, dot, param = name.partition(".")
    formulas = plan.get("formulas", {})
    owners = [f for f, spec in formulas.items() if param in dict(_slots_of(spec))]
    if not dot or formula not in owners:
        return name
    if owners != [formula]:
        detail = f"{name}: {param!r} is one param of formulas {', '.join(owners)}"
        raise InvalidRequest(f"{detail}; write {param}=… to change it in all of them")
    return param


def _slots(plan: Document) -> Iterator[tuple[str, _Slot]]:
    for spec in plan.get("formulas", {}).values():
        yield from _slots_of(spec)


def _slots_of(spec: Document) -> Iterator[tuple[str, _Slot]]:
    params = spec.get("params") or {}
    for name in params:
        yield name, _Slot(params, name, "value")
    for form in _FORMS:
        terms = spec.get(form) or {}
        for head in terms:
            yield _WEIGHT + head, _Slot(terms, head, "weight")
