"""A whole run: [data] and its companions, [model], [train], [[tasks]]."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from training.config.model import Model
from training.config.table import Table
from training.config.task import Task
from training.config.train import Train
from training.data.config import (
    ColumnsConfig,
    DataConfig,
    FeaturesConfig,
    HistoryConfig,
    SyntheticConfig,
)


class RunConfig(Table):
    """A whole run, named after its file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    data: DataConfig
    columns: ColumnsConfig | None = None
    features: FeaturesConfig = FeaturesConfig()
    history: HistoryConfig | None = None
    synthetic: SyntheticConfig = SyntheticConfig()
    model: Model
    train: Train = Train()
    tasks: tuple[Task, ...]
    slices: tuple[str, ...] = ()  # "tab=1": measure these rows apart, too

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [t.name for t in self.tasks]
        if not self.heads:
            raise ValueError("no [[tasks]] to serve")
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"tasks named twice: {', '.join(twice)}")
        towers = [t.name for t in self.tasks if t.product is None and t.beside is None]
        for task in self.tasks:
            for other in task.product or ((task.beside,) if task.beside else ()):
                if other not in towers:
                    raise ValueError(
                        f"task {task.name} refers to {other!r}, which is no task with a tower"
                        f" ({', '.join(towers)})"
                    )
        return self

    @property
    def heads(self) -> tuple[Task, ...]:
        """The tasks that are served, in order."""
        return tuple(t for t in self.tasks if t.beside is None)
