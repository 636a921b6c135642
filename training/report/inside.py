"""What only the network shows: how tasks mix experts, and how far their gradients disagree."""

from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import Any

import torch
from torch import Tensor

from training.dataset import Dataset
from training.objective import Objective
from training.rankers.ranker import Ranker
from training.report.document import Conflict, Mixture

MINIBATCHES = 3  # each costs a backward pass a task, which is nearly all of the time
ROWS = 20_000  # whose mixtures are averaged
_Where = tuple[str, tuple[str, str]]  # part, tasks
_OF_ONE_TASK = {
    "towers",
    "auxiliary",
    "linear",
    "readouts",
}  # parts of a ranker that no two tasks share
_LARGEST = 200_000_000  # weights * tasks whose gradients are held at once: about a gigabyte


def utilisation(ranker: Ranker, data: Dataset, rows: int = ROWS) -> dict[str, dict[str, Mixture]]:
    """Level -> task -> mean and deviation of its gate's weights over the first `rows` rows.

    A trunk that mixes experts says so by `mixtures(x)`, level -> (B, T, P), and `pools`, level ->
    the names of its P experts; any other trunk gives {}. An expert that is not in a task's pool
    has weight 0 on every row and is left out of its mixture.
    """
    mixtures = getattr(ranker.trunk, "mixtures", None)
    if mixtures is None:
        return {}
    ranker.eval()
    device = next(ranker.parameters()).device
    sums: dict[str, list[Tensor]] = {}
    done = 0
    seen: list[tuple[Any, ...]] = []
    hook = ranker.trunk.register_forward_pre_hook(lambda _, given: seen.append(given))
    with torch.inference_mode(), hook:
        for inputs in data.in_order(2048):
            ranker({name: block.to(device) for name, block in inputs.items()})
            for level, weights in mixtures(*seen[0]).items():
                weights = weights.double().cpu()
                moments = torch.stack([weights.sum(0), weights.square().sum(0)])
                sums.setdefault(level, []).append(moments)
            seen.clear()
            done += len(next(iter(inputs.values())))
            if done >= rows:
                break
    pools = ranker.trunk.pools
    return {
        level: _mixtures(torch.stack(parts).sum(0) / done, pools[level], ranker.tasks)
        for level, parts in sums.items()
    }


def gradient_conflicts(
    ranker: Ranker,
    objective: Objective,
    data: Dataset,
    *,
    minibatch: int,
    seed: int,
    minibatches: int = MINIBATCHES,
) -> tuple[Conflict, ...]:
    """Cosine of every two tasks' gradients, apart for each part of the ranker that tasks share,
    over some minibatches.

    Only weights that both losses reach count: a bank of experts holds every task's own in one
    tensor. Nothing is returned for a part whose gradients would not fit into about a gigabyte.
    """
    ranker.eval()
    parts = _shared_parts(ranker, len(objective.names))
    cosines: dict[_Where, list[float]] = {}
    device = next(ranker.parameters()).device
    for batch in islice(data.minibatches(minibatch, seed=seed, epoch=0), minibatches):
        for where, cosine in _cosines(ranker, objective, batch.to(device), parts).items():
            cosines.setdefault(where, []).append(cosine)
    return tuple(
        _conflict(part, pair, torch.tensor(values, dtype=torch.float64))
        for (part, pair), values in sorted(cosines.items(), key=lambda item: item[0][0])
    )


def _shared_parts(ranker: Ranker, tasks: int) -> dict[str, list[Tensor]]:
    """Weights by part of the ranker that several tasks share."""
    parts = {
        name: [w for w in module.parameters() if w.requires_grad]
        for name, module in ranker.named_children()
        if name not in _OF_ONE_TASK
    }
    return {
        name: weights
        for name, weights in parts.items()
        if weights and tasks * sum(w.numel() for w in weights) <= _LARGEST
    }


def _cosines(
    ranker: Ranker, objective: Objective, batch: Dataset, parts: Mapping[str, list[Tensor]]
) -> dict[_Where, float]:
    losses = objective.losses(ranker(batch.inputs), batch.labels, batch.spaces, batch.inputs)
    every = [weight for weights in parts.values() for weight in weights]
    gradients = {
        name: torch.autograd.grad(loss, every, retain_graph=True, allow_unused=True)
        for name, loss in losses.items()
        if loss.requires_grad
    }
    by_weight = zip(*gradients.values(), strict=True)
    names, found = list(gradients), {}
    for part, weights in parts.items():
        products = map(_products, islice(by_weight, len(weights)))
        inner, square = sum(products, torch.zeros(2, len(names), len(names), dtype=torch.float64))
        lengths = (square * square.T).sqrt()
        for one, other in combinations(range(len(names)), 2):
            if lengths[one, other] > 0:
                cosine = (inner[one, other] / lengths[one, other]).item()
                found[part, (names[one], names[other])] = cosine
    return found


def _products(gradients: Sequence[Tensor | None]) -> Tensor:
    """Of T tasks' gradients of one tensor: (2, T, T) of a . b, and of a . a where b is not 0."""
    there = [at for at, one in enumerate(gradients) if one is not None]
    products = torch.zeros(2, len(gradients), len(gradients), dtype=torch.float64)
    if not there:
        return products
    rows = torch.stack([gradients[at].flatten() for at in there])
    rows = rows[:, rows.any(0)].cpu().double()  # of a table, what the minibatch touched
    at = torch.tensor(there)
    products[0, at[:, None], at] = rows @ rows.T
    products[1, at[:, None], at] = rows.square() @ (rows != 0).double().T
    return products


def _conflict(part: str, tasks: tuple[str, str], cosines: Tensor) -> Conflict:
    return Conflict(
        part=part,
        tasks=tasks,
        cosine=cosines.mean().item(),
        deviation=cosines.std(correction=0).item(),
        opposed=(cosines < 0).double().mean().item(),
        minibatches=len(cosines),
    )


def _mixtures(moments: Tensor, pool: Sequence[str], tasks: Sequence[str]) -> Mapping[str, Mixture]:
    mean, square = moments
    deviation = (square - mean**2).clamp(min=0).sqrt()
    found = {}
    for at, task in enumerate(tasks):
        used = [p for p in range(len(pool)) if mean[at, p] > 0]
        found[task] = Mixture(
            experts=tuple(pool[p] for p in used),
            mean=tuple(mean[at, p].item() for p in used),
            deviation=tuple(deviation[at, p].item() for p in used),
        )
    return found
