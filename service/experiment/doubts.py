"""Warnings about formulas that are legal: what they may do over the observed ranges of a model.

Heads have the range seen on validation (their quantiles 0 and 1), else the declared one; attributes
the one of the manifest; scalars their vocabulary, or ten times what the golden rows show.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.contract.golden import Golden
from service.contract.heads import Head
from service.contract.manifest import Manifest
from service.experiment.document import Plan
from service.experiment.effects import Effect
from service.experiment.findings import Finding, pointer
from service.experiment.forms import write_out
from service.experiment.scalars import read_scalars, scalar_ranges
from service.experiment.walk import Path, declared_params, let_name
from service.fusion.doubt import Doubt
from service.fusion.intervals import Survey, survey
from service.fusion.ranges import Range, point

_LONGEST_PAUSE_S = 0.01
_MARGIN = 10.0  # how far beyond the golden rows a scalar is thought to reach

_Text = tuple[str, tuple[tuple[str, str], ...], str]  # formula, lets, model


@dataclass
class _Seen:
    """One text of a formula over one model, and the values that its params get somewhere."""

    effect: Effect  # the first one: that of the formula as it stands
    manifest: Manifest
    golden: Golden
    values: dict[str, Range]


@dataclass
class Surveyor:
    """Collects what a plan compiles, then says what is doubtful about it."""

    plan: Plan
    _seen: dict[_Text, _Seen] = field(default_factory=dict)
    _inputs: dict[str, dict[str, Range]] = field(default_factory=dict)  # by model

    def note(self, effect: Effect, model: str, manifest: Manifest, golden: Golden) -> None:
        """One treatment of the plan."""
        lets = tuple((key, text) for key, (text, _) in effect.let.items())
        values = {name: point(value) for name, value in effect.params.items()}
        text = (effect.formula, lets, model)
        if text not in self._seen:
            self._seen[text] = _Seen(effect, manifest, golden, values)
            return
        known = self._seen[text].values
        known.update({name: known[name].join(range_) for name, range_ in values.items()})

    def findings(self) -> list[Finding]:
        """Every doubt once, whatever treatments and models have it, as a warning."""
        found: dict[tuple[object, ...], Finding] = {}
        matter: dict[str, set[str]] = {}
        for (formula, _, model), seen in self._seen.items():
            began = time.perf_counter()
            for look, suffix in self._surveys(seen, model):
                for doubt in look.doubts:
                    finding = _finding(doubt, seen.effect, f"model {seen.manifest.id}{suffix}")
                    key = (doubt.kind, finding.pointer, finding.line, finding.column)
                    if doubt.kind != "remote":
                        found.setdefault(key, finding)
                matter.setdefault(formula, set()).update(look.matter, look.idle)
            # Requests need the interpreter that this holds: they get as much of the time.
            time.sleep(min(time.perf_counter() - began, _LONGEST_PAUSE_S))
        return [*found.values(), *self._idle(matter)]

    def _surveys(self, seen: _Seen, model: str) -> Iterator[tuple[Survey, str]]:
        """With the params of the formula itself, then with what any treatment sets."""
        if model not in self._inputs:
            self._inputs[model] = observed(seen.manifest, seen.golden)
        own = {name: point(value) for name, value in seen.effect.params.items()}
        yield self._survey(seen, self._inputs[model], own), ""
        if seen.values != own:
            yield (
                self._survey(seen, self._inputs[model], seen.values),
                ", with params that arms set",
            )

    def _survey(
        self, seen: _Seen, inputs: Mapping[str, Range], params: Mapping[str, Range]
    ) -> Survey:
        declared = write_out(self.plan.formulas[seen.effect.formula]).params
        bounds = {name: Range(p.min, p.max).join(seen.values[name]) for name, p in declared.items()}
        return survey(
            seen.effect.score,
            lets={key: text for key, (text, _) in seen.effect.let.items()},
            inputs=inputs,
            params=params,
            bounds=bounds,
            heads=frozenset(seen.manifest.head_names),
        )

    def _idle(self, matter: Mapping[str, set[str]]) -> Iterator[Finding]:
        for name, path, _ in declared_params(self.plan):
            formula = str(path[1])
            if formula in matter and name not in matter[formula]:
                message = (
                    f"param {name!r} never matters in formula {formula!r}: no value within its"
                    " bounds changes an order"
                )
                yield Finding("warning", pointer(*path), message)


def observed(manifest: Manifest, golden: Golden) -> dict[str, Range]:
    """Name -> range of every head, attribute and scalar of a model."""
    found = {head.name: _head(head) for head in manifest.heads}
    for attribute in manifest.schema_.attributes:
        span = Range(attribute.min, attribute.max)
        found[attribute.name] = span.join(point(attribute.default))
    return found | _scalars(manifest, golden)


def _head(head: Head) -> Range:
    measured = dict(head.quantiles)
    if 0.0 in measured and 1.0 in measured:
        return Range(measured[0.0], measured[1.0])
    return Range(*head.range)


def _scalars(manifest: Manifest, golden: Golden) -> dict[str, Range]:
    scalars = scalar_ranges(manifest.schema_)
    defaults = {name: default for name, (default, _) in scalars.items()}
    rows = [
        read_scalars(defaults, raw["user"].get("features", {}), raw.get("context", {}))
        for raw in golden.raw
    ]
    found = {}
    for name, (default, span) in scalars.items():
        if span is not None:
            found[name] = Range(*span)
        else:
            values = [default, *(row[name] for row in rows if math.isfinite(row[name]))]
            found[name] = _wider(min(values), max(values))
    return found


def _wider(low: float, high: float) -> Range:
    """A range around what few rows show; it does not pass 0 where they do not."""
    return Range(
        low / _MARGIN if low > 0 else low * _MARGIN,
        high * _MARGIN if high > 0 else high / _MARGIN,
    )


def _finding(doubt: Doubt, effect: Effect, who: str) -> Finding:
    kind, _, key = doubt.place.where.partition(" ")
    places: dict[str, Path] = {let_name(k): place for k, (_, place) in effect.let.items()}
    path = places.get(let_name(key), effect.score_at) if kind == "let" else effect.score_at
    return Finding(
        "warning",
        pointer(*path),
        f"{doubt.message} (formula {effect.formula!r}, {who})",
        line=doubt.place.line,
        column=doubt.place.column,
        caret=doubt.place.excerpt,
    )
