"""Which columns of the logits belong to a task."""

from collections.abc import Sequence

from torch import Tensor


def columns_of(logits: Tensor, names: Sequence[str], task: str) -> Tensor:
    """A task's logits: (B,), or (B, m) of a task with m > 1 outputs, which stand side by side.

    Args:
        names: the task of every column, as `Ranker.logit_names`.
    """
    first, number = names.index(task), names.count(task)
    return logits[:, first] if number == 1 else logits[:, first : first + number]


def imputation(task: str) -> str:
    """The name of a task's imputation tower; no task can be called so."""
    return f"{task}#imputed"
