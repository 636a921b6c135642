"""What scoring costs, learned while it happens: seconds by model, stage and rows.

A stage takes about a + b·rows seconds. Both are followed by exponentially weighted moments, so that
a machine that becomes slower or faster is noticed within some dozen requests, and one outlier (a
stall) moves a prediction by a bounded factor only. What requests of a few rows take says nothing of
b: that is kept from when their numbers differed.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

# stage -> seconds a row while nothing has been measured: a small multi-task network on one core
UNMEASURED_S: Mapping[str, float] = {"encode": 4e-6, "infer": 20e-6, "fuse": 1e-6}
FEATURES = "features"  # waited for beside the work of others, so not part of the work

_WEIGHT = 0.1  # of the newest observation, once there are ten
_LARGEST_STEP = 4.0  # an observation beyond this multiple of its prediction counts as this multiple
_DEVIATIONS = 2.0
_RIDGE = 0.1  # of mean rows, and 32 of them: below this spread, rows say too little of the slope
_LEAST_RIDGE = 32.0
_FIXED_ROWS = 128  # of fewer than these, most of the time may be the fixed part
_MOST_MODELS = 64
_CONFIDENT = 5  # observations before outliers are bounded
_FIRST_PAUSE_S = 0.5  # after a trial that was stopped, and twice as long after each further one
_LONGEST_PAUSE_S = 8.0


@dataclass(frozen=True)
class Cost:
    """Predicted seconds: as expected, and what is seldom exceeded."""

    mean: float
    high: float


@dataclass(frozen=True)
class _Pause:
    """No trial of as many rows, or more, until then: the last one was stopped."""

    rows: int
    seconds: float
    until: float


class Estimate:
    """Seconds against rows for one stage of one model."""

    def __init__(self, s_per_row: float = 0.0) -> None:
        self._seen = 0
        self._rows = 1.0
        self._seconds = s_per_row
        self._variance = self._covariance = 0.0
        self._slope = s_per_row  # the last one that was told apart from the fixed part
        self._is_told_apart = False
        self._s_per_row = s_per_row  # the slope as predictions take it
        self.deviation = 0.0  # mean absolute error of the predictions, in s

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from one run of the stage."""
        expected = self.mean(rows)
        if self._seen >= _CONFIDENT:
            seconds = min(seconds, _LARGEST_STEP * (expected + self.deviation))
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        off_rows, off_seconds = rows - self._rows, seconds - self._seconds
        self._rows += weight * off_rows
        self._seconds += weight * off_seconds
        self._variance = (1 - weight) * (self._variance + weight * off_rows**2)
        self._covariance = (1 - weight) * (self._covariance + weight * off_rows * off_seconds)
        error = abs(seconds - expected) if self._seen > 1 else seconds / 4
        self.deviation += weight * (error - self.deviation)
        ridge = max(_RIDGE * self._rows, _LEAST_RIDGE) ** 2
        if self._variance > ridge:
            self._slope, self._is_told_apart = self._fitted(ridge), True
        elif not self._is_told_apart:
            self._slope = self._seconds / max(self._rows, _FIXED_ROWS)
        self._s_per_row = self._fitted(ridge)

    def mean(self, rows: int) -> float:
        """Expected seconds; never negative, and never falling with rows."""
        return self._seconds + self._s_per_row * (rows - self._rows)

    def _fitted(self, ridge: float) -> float:
        """Seconds a row."""
        slope = (self._covariance + ridge * self._slope) / (self._variance + ridge)
        # A slope above seconds ÷ rows would mean a negative fixed part.
        return min(max(slope, 0.0), self._seconds / max(self._rows, 1.0))


class CostModel:
    """Costs of all models. For the event loop alone: to predict, too, is to remember, unlocked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._models: OrderedDict[str, dict[str, Estimate]] = OrderedDict()
        # model -> bits of the number of rows -> when so many were measured; 0: when any were first
        self._observed_at: dict[str, dict[int, float]] = {}
        # model -> bits of the number of rows -> since the last trial of so many was stopped
        self._pauses: dict[str, dict[int, _Pause]] = {}
        # (model, rows) -> its cost, until something is learned: a request asks five times
        self._known: dict[tuple[str, int], Cost] = {}

    def observe(self, model: str, rows: int, timings_ms: Mapping[str, float]) -> None:
        """Learn from the stages of one request; stages that cost no thread are left out."""
        stages = self._stages(model)
        self._known.clear()
        for stage, estimate in stages.items():
            if stage in timings_ms:
                estimate.observe(rows, timings_ms[stage] / 1000)
        if "infer" in timings_ms:
            now = self._clock()
            observed_at = self._observed_at.setdefault(model, {0: now})
            observed_at[rows.bit_length()] = now
            if pauses := self._pauses.get(model):
                self._pauses[model] = {b: p for b, p in pauses.items() if p.rows > rows}

    def observe_stopped(
        self, model: str, rows: int, seconds: float, *, is_trial: bool = False
    ) -> None:
        """Learn from work that was stopped after `seconds`: it takes at least that long.

        After a trial there is none for a while, twice as long each time until one runs to its end.
        """
        now, bits = self._clock(), rows.bit_length()
        pauses = self._pauses.get(model, {})
        self._observed_at.setdefault(model, {0: now})[bits] = now
        if seconds > self.work(model, rows).mean:
            encoding = self._stages(model)["encode"].mean(rows)
            self.observe(model, rows, {"infer": (seconds - encoding) * 1000})
        if is_trial:
            last = pauses.get(bits)
            pause_s = min(2 * last.seconds, _LONGEST_PAUSE_S) if last else _FIRST_PAUSE_S
            pauses = pauses | {bits: _Pause(rows, pause_s, now + pause_s)}
        if pauses:  # whatever `observe` made of it: this one did not run to its end
            self._pauses[model] = pauses

    def work(self, model: str, rows: int) -> Cost:
        """What a worker thread is busy with for one request."""
        cost = self._known.get((model, rows))
        if cost is None:
            stages = [e for name, e in self._stages(model).items() if name != FEATURES]
            mean = sum(e.mean(rows) for e in stages)
            high = mean + _DEVIATIONS * sqrt(sum(e.deviation**2 for e in stages))
            cost = self._known[model, rows] = Cost(mean, high)
        return cost

    def stage(self, model: str, stage: str, rows: int) -> float:
        """Expected seconds of one stage."""
        return self._stages(model)[stage].mean(rows)

    def unmeasured_s(self, model: str, rows: int) -> float:
        """Seconds since this model was last measured, or ran until it was stopped.

        Since it first was, where it never ran with as many rows, or a good part of them: those are
        tried once, and cut from then on, however many small requests come. After a trial that was
        stopped, of as many rows or fewer, only from the end of its pause.
        """
        seen = self._observed_at.get(model)
        if seen is None:
            return 0.0
        is_tried = any(bits >= rows.bit_length() - 1 for bits in seen if bits)
        since = max(seen.values()) if is_tried else seen[0]
        pauses = self._pauses.get(model, {})
        ends = [pause.until for bits, pause in pauses.items() if bits <= rows.bit_length()]
        return max(self._clock() - max([since, *ends]), 0.0)

    def most_rows(self, model: str, seconds: float, rows: int) -> int:
        """How many of `rows` are seldom late within `seconds`."""
        fits, too_many = 0, rows + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if self.work(model, middle).high <= seconds:
                fits = middle
            else:
                too_many = middle
        return fits

    def predictions(self, rows: int) -> dict[str, float]:
        """Model -> expected seconds of work for `rows`, for those that were measured."""
        return {model: self.work(model, rows).mean for model in self._observed_at}

    def _stages(self, model: str) -> dict[str, Estimate]:
        stages = self._models.get(model)
        if stages is None:
            stages = {name: Estimate(per_row) for name, per_row in UNMEASURED_S.items()}
            stages[FEATURES] = Estimate()
            self._models[model] = stages
            while len(self._models) > _MOST_MODELS:
                gone, _ = self._models.popitem(last=False)
                self._observed_at.pop(gone, None)
                self._pauses.pop(gone, None)
        return stages
