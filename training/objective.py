"""What a run minimises: the losses of its tasks, each over its own sample space, and what they are
worth.

A product head (ESMM's ctcvr) is a loss on other tasks' logits; it needs no branch in any network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from training.config.task import Task
from training.config.train import Calibrator
from training.losses import doubly_robust, inverse_propensity, over_space, product, rising
from training.rankers.columns import columns_of, imputation
from training.readouts.readouts import Readouts, build_readouts


@dataclass(frozen=True)
class Seen:
    """A minibatch as a loss sees it: logits (B, L), labels and spaces (B, K), inputs by name."""

    logits: Tensor
    labels: Tensor
    spaces: Tensor
    inputs: Mapping[str, Tensor]


class Objective:
    """Losses of tasks with a loss, in the order of the configuration, then of what else is asked.

    Args:
        tasks: the run's tasks; column k of labels and spaces belongs to task k.
        logit_names: the task of every logit column.
        readouts: of the ranker that gives the logits; as configured and unfitted, if left out.
        calibrator: AITM's, or None.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        logit_names: Sequence[str],
        readouts: Readouts | None = None,
        calibrator: Calibrator | None = None,
    ) -> None:
        self._tasks, self._logit_names = tasks, tuple(logit_names)
        self._readouts = readouts or build_readouts(tasks)
        self._at = {task.name: at for at, task in enumerate(tasks)}
        self._terms: dict[str, Callable[[Seen], Tensor]] = {}
        self.weights: dict[str, float] = {}
        for task in tasks:
            if task.loss_name != "none":
                self._terms[task.name] = partial(self._term(task), task)
                self.weights[task.name] = task.weight
        self.names = tuple(self._terms)  # of tasks; the balance leaves what follows alone
        if calibrator is not None:
            self._terms["calibrator"] = partial(self._rising, calibrator.chain)
            self.weights["calibrator"] = calibrator.weight

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs that `losses` needs."""
        return self._readouts.reads

    def losses(
        self,
        logits: Tensor,
        labels: Tensor,
        spaces: Tensor,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Logits (B, L), labels and spaces (B, K) -> unweighed mean loss by name.

        Args:
            inputs: encoded inputs of the rows, for the readouts that read them.
        """
        seen = Seen(logits, labels, spaces, inputs or {})
        return {name: term(seen) for name, term in self._terms.items()}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum of weight * loss."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def of_tasks(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Weight * loss of every task with a loss, (T,) in the order of `names`."""
        return torch.stack([self.weights[name] * losses[name] for name in self.names])

    def besides(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum of weight * loss of what belongs to no task; 0 when there is nothing."""
        others = [self.weights[n] * loss for n, loss in losses.items() if n not in self.names]
        return torch.stack(others).sum() if others else torch.zeros(())

    def _term(self, task: Task) -> Callable[[Task, Seen], Tensor]:
        if task.product is not None:
            return self._product
        return self._own if task.debias is None else self._debiased

    def _own(self, task: Task, seen: Seen) -> Tensor:
        readout, at = self._readouts[task.name], self._at[task.name]
        side = readout.side(seen.inputs)
        columns = [self._logits(seen, task.name), *(() if side is None else (side,))]
        return over_space(readout.loss, columns, seen.labels[:, at], seen.spaces[:, at])

    def _product(self, task: Task, seen: Seen) -> Tensor:
        logits, at = [self._logits(seen, name) for name in task.product], self._at[task.name]
        return over_space(product, logits, seen.labels[:, at], seen.spaces[:, at])

    def _debiased(self, task: Task, seen: Seen) -> Tensor:
        """Over the rows of the propensity's space, what is known in the task's own (ESCM2)."""
        debias, at = task.debias, self._at[task.name]
        everyone = seen.spaces[:, self._at[debias.propensity]]
        observed = (seen.spaces[:, at] & everyone)[everyone]
        label = torch.where(observed, seen.labels[:, at][everyone], 0)
        error = self._readouts[task.name].loss(self._logits(seen, task.name)[everyone], label)
        propensity = self._probability(seen, debias.propensity)[everyone].detach()
        propensity = propensity.clamp(min=debias.floor)
        if not len(error):
            return self._logits(seen, task.name).sum() * 0
        if debias.kind == "dr":
            imputed = functional.softplus(self._logits(seen, imputation(task.name))[everyone])
            robust, imputing = doubly_robust(error, imputed, observed, propensity)
            return robust.mean() + imputing.mean()
        weighed = inverse_propensity(error, observed, propensity)
        if not debias.self_normalised:
            return weighed.mean()
        weights = torch.where(observed, 1 / propensity, 0).sum()
        return weighed.sum() / weights.clamp(min=1)

    def _rising(self, chain: Sequence[str], seen: Seen) -> Tensor:
        return rising([self._probability(seen, name) for name in chain])

    def _probability(self, seen: Seen, name: str) -> Tensor:
        """Of a task, or of the product that a head is; as it is trained, so uncalibrated."""
        factors = self._tasks[self._at[name]].product or (name,)
        parts = [torch.sigmoid(self._logits(seen, factor)) for factor in factors]
        return torch.stack(parts).prod(0)

    def _logits(self, seen: Seen, name: str) -> Tensor:
        return columns_of(seen.logits, self._logit_names, name)
