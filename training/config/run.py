"""A whole run: [data] and its companions, [model], [train], [[tasks]]."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from training.config.export import Export
from training.config.model import Model
from training.config.table import Table
from training.config.task import Task
from training.config.train import Train
from training.data.config import ColumnsConfig, DataConfig, FeaturesConfig, SyntheticConfig
from training.data.history_config import HistoryConfig


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
    export: Export = Export()
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
        known = [t.name for t in self.tasks if t.product is None]
        if unknown := sorted(set(self.model.towers_of) - set(known)):
            raise ValueError(
                f"[model.towers_of] {', '.join(unknown)}: no task with a tower ({', '.join(known)})"
            )
        products = {t.name: t.product for t in self.tasks if t.product is not None}
        for task in self.tasks:
            for other in task.product or ((task.beside,) if task.beside else ()):
                if task.product and other in products:
                    raise ValueError(
                        f"task {task.name} refers to {other!r}, a product itself:"
                        f" name its factors ({', '.join(products[other])}) instead"
                    )
                if other not in towers:
                    raise ValueError(
                        f"task {task.name} refers to {other!r}, which is no task with a tower"
                        f" ({', '.join(towers)})"
                    )
        self._known_to_objective(towers, products)
        return self

    def _known_to_objective(
        self, towers: list[str], products: Mapping[str, tuple[str, ...]]
    ) -> None:
        by_name = {t.name: t for t in self.tasks}
        for task in self.tasks:
            amounts = [f for f in task.product or () if by_name[f].watch is not None]
            if amounts and task.loss_name != "none":
                raise ValueError(
                    f"task {task.name}: {amounts[0]} is no probability, so the product has no"
                    ' loss (loss = "none")'
                )
            if task.debias is not None and task.debias.propensity not in {*towers, *products}:
                raise ValueError(
                    f"task {task.name}: its propensity {task.debias.propensity!r} is no task with"
                    f" a tower ({', '.join(towers)}) or product"
                )
        balanced = [t.name for t in self.tasks if t.loss_name != "none"]
        for name in getattr(self.train.balance, "rates", {}):
            if name not in balanced:
                raise ValueError(
                    f"train.balance.rates: {name!r} is no task with a loss ({', '.join(balanced)})"
                )
        for name in self.train.calibrator.chain if self.train.calibrator else ():
            if name not in {*towers, *products}:
                raise ValueError(
                    f"train.calibrator: {name!r} is no task with a tower ({', '.join(towers)})"
                )

    @property
    def heads(self) -> tuple[Task, ...]:
        """The tasks that are served, in order."""
        return tuple(t for t in self.tasks if t.beside is None)
