"""Libraries: named functions and formulas that several scenes share, in immutable versions.

A plan pins versions, `"library": {"shared": 3}`. Then every let of the library can be used by its
name, and a formula may come from it, `{"from": "shared/base"}`, with `params` and `let` of its own
on top. The plan is written out before it is checked, so a library means nothing by itself: its
names are checked against the models of each plan that pins it.
"""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from service.contract.features import Name
from service.experiment.document import FormulaSpec, Label, LetKey
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding, did_you_mean, pointer
from service.experiment.forms import write_out
from service.experiment.shape import shape_findings
from service.experiment.walk import let_name
from service.fusion import FormulaError
from service.fusion.scope import read_scope

Document = Mapping[str, Any]
Pinned = Mapping[str, tuple[int, Document]]  # name -> (version, document)

KEY = "library"
_FROM, _OWN = "from", {"from", "params", "let"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Library(BaseModel):
    """The document of a library."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1]
    library: Label
    let: dict[LetKey, str] = {}
    formulas: dict[Name, FormulaSpec] = {}


@dataclass(frozen=True)
class Expanded:
    """A plan document without references. `origins`: pointer -> where its text comes from."""

    document: Any
    origins: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def told(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings about the plan as it was given, where the pinned versions are."""
        return tuple(map(self._told, findings))

    def _told(self, finding: Finding) -> Finding:
        for place, (name, what) in self.origins.items():
            if finding.pointer == place or finding.pointer.startswith(f"{place}/"):
                message = f"{finding.message} (from {what})"
                return replace(finding, pointer=pointer(KEY, name), message=message)
        return finding


def check_library(name: str, document: Any) -> None:
    """Raise PlanInvalid unless it is a library of this name whose texts can be parsed."""
    try:
        library = Library.model_validate_json(json.dumps(document))
    except ValidationError as err:
        raise PlanInvalid(shape_findings(err, Library)) from err
    if library.library != name:
        message = f"the library says {library.library!r}, the path {name!r}"
        raise PlanInvalid([Finding("error", pointer(KEY), message)])
    wrong = [*_wrong("let", library.let, ("let",))]
    for formula, spec in library.formulas.items():
        forms = [spec.score, spec.multiplicative, spec.additive]
        if sum(form is not None for form in forms) != 1:
            message = "give exactly one of score, multiplicative, additive"
            wrong.append(Finding("error", pointer("formulas", formula), message))
            continue
        text = write_out(spec)
        wrong += _wrong("score", {"score": text.score}, ("formulas", formula))
        wrong += _wrong("let", text.let, ("formulas", formula, "let"))
    if wrong:
        raise PlanInvalid(wrong)


def _wrong(kind: str, texts: Mapping[str, str], path: tuple[str, ...]) -> Iterator[Finding]:
    """What stops texts from being parsed, or lets from being ordered."""
    lets = texts if kind == "let" else {"score": texts["score"]}
    try:
        read_scope(lets=lets, params={}, heads=(), attributes=(), scalars=())
    except FormulaError as err:
        key = err.where.removeprefix("let ")
        at = pointer(*path, *([key] if key in texts else []))
        yield Finding("error", at, err.message, err.line, err.column, err.excerpt)


def pins(document: Any) -> dict[str, int]:
    """The libraries that a plan document pins; what is no pin is left to the plan's own check."""
    given = document.get(KEY) if isinstance(document, Mapping) else None
    if not isinstance(given, Mapping):
        return {}
    return {n: v for n, v in given.items() if isinstance(v, int) and not isinstance(v, bool)}


def expand(document: Any, pinned: Pinned) -> Expanded:
    """Write a plan out: formulas that come from libraries, and the functions that texts use.

    Raises:
        PlanInvalid: a formula comes from nowhere, or a function from two libraries.
    """
    formulas = document.get("formulas") if isinstance(document, Mapping) else None
    if not isinstance(formulas, Mapping):
        return Expanded(document)
    whole = copy.deepcopy(dict(document))
    origins: dict[str, tuple[str, str]] = {}
    arms = _arm_texts(document)
    for name, spec in formulas.items():
        if isinstance(spec, Mapping):
            home = None
            if _FROM in spec:
                home, whole["formulas"][name] = _come_from(name, spec, pinned, origins)
            if pinned:
                _add_lets(name, whole["formulas"][name], home, pinned, arms, origins)
    return Expanded(whole, origins)


def _come_from(
    name: str, spec: Document, pinned: Pinned, origins: dict[str, tuple[str, str]]
) -> tuple[str, dict[str, Any]]:
    """(library, the formula written out)."""
    place = ("formulas", name, _FROM)
    library, _, formula = str(spec[_FROM]).partition("/")
    if library not in pinned:
        raise _invalid(place, f"no library {library!r} is pinned{did_you_mean(library, pinned)}")
    version, document = pinned[library]
    known = document.get("formulas", {})
    if formula not in known:
        hint = did_you_mean(formula, known)
        raise _invalid(place, f"library {library}/{version} has no formula {formula!r}{hint}")
    if more := sorted(spec.keys() - _OWN):
        message = f"a formula that comes from a library has only params and let: not {more[0]!r}"
        raise _invalid(("formulas", name, more[0]), message)
    what = f"formula {formula!r} of library {library}/{version}"
    taken = copy.deepcopy(dict(known[formula]))
    for key in ("score", "multiplicative", "additive", "videolen"):
        if key in taken:
            origins[pointer("formulas", name, key)] = library, what
    own_let = dict(spec.get("let") or {})
    own_names = set(map(let_name, own_let))
    kept = {k: text for k, text in taken.get("let", {}).items() if let_name(k) not in own_names}
    for key in kept:
        origins[pointer("formulas", name, "let", key)] = library, f"let {key} of {what}"
    params = dict(taken.get("params", {}))
    for param in params:
        if param not in (spec.get("params") or {}):
            origins[pointer("formulas", name, "params", param)] = library, what
    for param, given in (spec.get("params") or {}).items():
        change = given if isinstance(given, Mapping) else {"value": given}
        params[param] = {**params.get(param, {}), **change}
    return library, {**taken, "let": {**kept, **own_let}, "params": params}


def _add_lets(
    name: str,
    spec: dict[str, Any],
    home: str | None,
    pinned: Pinned,
    arms: str,
    origins: dict[str, tuple[str, str]],
) -> None:
    """The functions of libraries that the texts of a formula use and do not define."""
    lets = dict(spec.get("let") or {})
    defined = set(map(let_name, lets))
    waiting = [str(spec.get("score") or ""), *map(str, lets.values()), arms]
    while waiting:
        for used in dict.fromkeys(_NAME.findall(waiting.pop())):
            found = [
                (library, key, text)
                for library, (_, document) in pinned.items()
                for key, text in document.get("let", {}).items()
                if let_name(key) == used
            ]
            if used in defined or not found:
                continue
            own = [entry for entry in found if entry[0] == home] or found
            if len(own) > 1:
                both = " and ".join(library for library, _, _ in own)
                raise _invalid(("formulas", name), f"{used!r} is in the libraries {both}")
            library, key, text = own[0]
            defined.add(used)
            lets[key] = text
            waiting.append(text)
            what = f"let {key} of library {library}/{pinned[library][0]}"
            origins[pointer("formulas", name, "let", key)] = library, what
    if lets:
        spec["let"] = lets


def _arm_texts(document: Document) -> str:
    """The texts that arms set, for the names in them."""
    text = json.dumps(document.get("layers", ()))
    return text if '"let"' in text else ""


def _invalid(path: tuple[str, ...], message: str) -> PlanInvalid:
    return PlanInvalid([Finding("error", pointer(*path), message)])
