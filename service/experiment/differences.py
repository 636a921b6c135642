"""What differs between two plan documents: weights before and after, formula texts, the rest."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]

_FORMS = ("multiplicative", "additive")


def unified(before: Document, after: Document, name: str, other: str) -> list[str]:
    """A unified diff of the documents as indented JSON; [] when they are equal."""
    old, new = (json.dumps(d, indent=1, ensure_ascii=False).splitlines() for d in (before, after))
    return list(difflib.unified_diff(old, new, fromfile=name, tofile=other, lineterm=""))


def changes(before: Document, after: Document) -> list[str]:
    """Weights as `base.b: 1.2 -> 1.6 (+33.3 %)`, texts line by line with + and -, other keys."""
    lines = [*_weights(before, after)]
    old, new = _texts(before), _texts(after)
    for place in old | new:
        if old.get(place) != new.get(place):
            lines.append(f"{place}:")
            lines += _text_lines(old.get(place, ""), new.get(place, ""))
    keys = dict.fromkeys([*before, *after])
    others = [k for k in keys if k != "formulas" and before.get(k) != after.get(k)]
    return lines + [_key(key, before.get(key), after.get(key)) for key in others]


def _weights(before: Document, after: Document) -> Iterator[str]:
    old, new = dict(_values(before)), dict(_values(after))
    for name in old | new:
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if was is None:
            yield f"{name}: {now:g} (new)"
        elif now is None:
            yield f"{name}: {was:g} (gone)"
        else:
            yield f"{name}: {was:g} -> {now:g}{_percent(was, now)}"


def _percent(was: float, now: float) -> str:
    return f" ({(now - was) / abs(was):+.1%})".replace("%", " %") if was else ""


def _values(plan: Document) -> Iterator[tuple[str, float]]:
    """Every number of a formula that can be set, and those that arms set."""
    for formula, spec in plan.get("formulas", {}).items():
        for name, param in (spec.get("params") or {}).items():
            yield f"{formula}.{name}", param["value"]
        for form in _FORMS:
            for head, term in (spec.get(form) or {}).items():
                weight = term["weight"] if isinstance(term, dict) else term
                yield f"{formula}.w_{head}", weight
    for layer in plan.get("layers") or ():
        for experiment in layer.get("experiments") or ():
            for arm in experiment["arms"]:
                who = f"{layer['name']}:{experiment['name']}/{arm['name']}"
                for name, value in ((arm.get("set") or {}).get("params") or {}).items():
                    yield f"{who}.{name}", value


def _texts(plan: Document) -> dict[str, str]:
    """Place -> text of every score and let."""
    found = {}
    for formula, spec in plan.get("formulas", {}).items():
        if spec.get("score") is not None:
            found[f"{formula} score"] = spec["score"]
        for key, text in (spec.get("let") or {}).items():
            found[f"{formula} let {key}"] = text
    return found


def _text_lines(before: str, after: str) -> Iterator[str]:
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[0] in "+- ":
            yield line.rstrip()


def _key(key: str, before: object, after: object) -> str:
    if isinstance(before, dict | list) or isinstance(after, dict | list):
        return f"{key}: {'new' if before is None else 'gone' if after is None else 'changed'}"
    return f"{key}: {json.dumps(before)} -> {json.dumps(after)}"
