"""The search: optuna proposes params, the logged lists say what they are worth."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from service.fusion import FormulaError
from training.tune.errors import TuneError
from training.tune.lists import Floats, Lists
from training.tune.objectives import Bound, Objective
from training.tune.planned import PlannedFormula

_SEARCH = "search"  # what a stored study was made for


@dataclass(frozen=True)
class Trial:
    """Values of the searched params, and what they gave."""

    number: int
    params: Mapping[str, float]
    objectives: tuple[float, ...]
    bounds: tuple[float, ...]  # the bounded figures
    feasible: bool

    @property
    def is_defined(self) -> bool:
        return bool(np.isfinite([*self.objectives, *self.bounds]).all())


@dataclass(frozen=True)
class Found:
    """The plan's own params, all trials in order (number 0 is the control), and those that keep
    every bound and that no other beats.
    """

    control: Trial
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    chosen: Trial


@dataclass(frozen=True)
class Search:
    """What is searched on which lists.

    A trial compiles the formula anew, as serving would: .6 ms, a small part of measuring it.
    """

    formula: PlannedFormula
    lists: Lists
    objectives: Sequence[Objective]
    bounds: Sequence[Bound]
    only: Sequence[str] = ()

    def scores(self, params: Mapping[str, float], lists: Lists) -> Floats:
        """(N,) of the lists.

        Raises:
            FormulaError: the formula does not compile with these params, heads and attributes.
        """
        compiled = self.formula.compile(params, heads=lists.heads, attributes=lists.attributes)
        return lists.score(compiled)

    def run(
        self,
        trials: int,
        *,
        seed: int,
        storage: Path | None = None,
        told: Callable[[int], None] = lambda done: None,
    ) -> Found:
        """Try the control and then others, until there are `trials`; continue what `storage` holds.

        The same seed, rows and trials give the same result, unless the search was interrupted.

        Raises:
            TuneError: the control cannot be measured, or the storage is another search's.
            FormulaError: the formula does not fit the predictions.
        """
        searched = self.formula.searched(self.only)
        own = {name: self.formula.values[name] for name in searched}
        control = self.measure(Trial(0, own, (), (), True), self.lists)
        if not control.is_defined:
            raise TuneError(
                "an objective or a bound is not defined under the plan's own params: are there"
                " rows of both kinds, and lists?"
            )
        study = self._study(storage, seed)

        def attempt(trial: optuna.Trial) -> tuple[float, ...]:
            params = {
                name: trial.suggest_float(name, param.min, param.max)
                for name, param in searched.items()
            }
            try:
                found = self.measure(Trial(trial.number, params, (), (), True), self.lists)
            except FormulaError as err:  # params can cross: the bounds of a clip
                raise optuna.TrialPruned from err
            if not found.is_defined:
                raise optuna.TrialPruned
            trial.set_user_attr("bounds", found.bounds)
            for bound, value, base in zip(self.bounds, found.bounds, control.bounds, strict=True):
                trial.set_constraint(bound.text, bound.violation(value, base))
            return found.objectives

        if not study.trials:
            study.enqueue_trial(own)
        done = _finished(study)
        told(done)
        left = max(0, trials - done)
        study.optimize(attempt, n_trials=left, callbacks=[lambda *_: told(_finished(study))])
        found = tuple(_trial(t) for t in study.trials if t.values is not None)
        front = pareto_front([t for t in found if t.feasible])
        return Found(control, found, front, choose(front or [control], control))

    def measure(self, trial: Trial, lists: Lists) -> Trial:
        """The same params on some lists; a figure those do not define is NaN."""
        scores = self.scores(trial.params, lists)
        return Trial(
            trial.number,
            trial.params,
            tuple(o(lists, scores) for o in self.objectives),
            tuple(b.objective(lists, scores) for b in self.bounds),
            trial.feasible,
        )

    def _study(self, storage: Path | None, seed: int) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kept = None
        if storage is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            storage.parent.mkdir(parents=True, exist_ok=True)
            kept = JournalStorage(JournalFileBackend(str(storage)))
        name = f"{self.formula.plan.scene}/{self.formula.name}"
        done = 0
        if kept is not None and name in optuna.get_all_study_names(storage=kept):
            done = _finished(optuna.load_study(study_name=name, storage=kept))
        # Another stretch draws other numbers, or it would propose the first ones again.
        sampler = optuna.samplers.TPESampler(seed=seed + done)
        study = optuna.create_study(
            study_name=name,
            storage=kept,
            sampler=sampler,
            directions=["maximize"] * len(self.objectives),
            load_if_exists=True,
        )
        mine = self._fingerprint()
        if study.user_attrs.get(_SEARCH, mine) != mine:
            raise TuneError(
                f"{storage} holds another search of {name} (other rows, text, bounds or"
                " objectives): give another file"
            )
        study.set_user_attr(_SEARCH, mine)
        return study

    def _fingerprint(self) -> str:
        """Of everything but the seed and the number of trials."""
        said = [
            self.formula.name,
            repr(self.formula.text),
            [o.text for o in self.objectives],
            [b.text for b in self.bounds],
            list(self.only),
        ]
        digest = hashlib.sha256(json.dumps(said).encode())
        for columns in (self.lists.heads, self.lists.labels):
            for name, values in columns.items():
                digest.update(name.encode() + values.tobytes())
        digest.update(self.lists.of_list.tobytes())
        return digest.hexdigest()


def pareto_front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that no other is at least as good as in everything and better in something, the first
    of equals, by descending first objective.
    """
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: ([-v for v in t.objectives], t.number)):
        values = np.array(trial.objectives)
        # Whoever comes before is at least as good in the first objective.
        if not any((np.array(other.objectives) >= values).all() for other in front):
            front.append(trial)
    return tuple(front)


def choose(front: Sequence[Trial], control: Trial) -> Trial:
    """The one whose smallest gain over the control, relative to it, is the largest."""

    def gains(trial: Trial) -> list[float]:
        return [
            (value - base) / (abs(base) or 1.0)
            for value, base in zip(trial.objectives, control.objectives, strict=True)
        ]

    return max(front, key=lambda t: (min(gains(t)), sum(gains(t)), -t.number))


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    return Trial(
        trial.number,
        trial.params,
        tuple(trial.values),
        tuple(trial.user_attrs["bounds"]),
        all(v <= 0 for v in trial.constraints.values()),
    )
