"""[model]: what the network looks like."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from service.contract.features import Name
from training.config.inputs import (
    AttentionInput,
    CrossInput,
    Groups,
    Input,
    Patterns,
    Pooling,
    SceneInput,
    TowerGate,
    TowerOf,
)
from training.config.table import Share, Table, Width
from training.config.trunks import Trunk


class Model(Table):
    """[model]: what the network looks like."""

    trunk: Trunk
    embedding: Width = 8
    towers: tuple[Width, ...] = (64,)
    dropout: Share = 0.2
    linear: bool = True  # a linear term beside the network
    log1p: tuple[str, ...] = ()  # value columns (patterns) that get log(1 + x) before standardising
    clip: Annotated[float, Field(gt=0)] = 5.0  # standardised values stay within ± this
    pooling: Mapping[Name, Pooling] = {}  # multi-valued feature -> how; the others take the mean
    inputs: tuple[Input, ...] = ()  # computed from the features before the trunk, in this order
    groups: Mapping[Name, Patterns] = {}  # name -> patterns of features and of `inputs`
    experts_read: Groups = ()  # groups that experts read; none named: everything
    gates_read: Groups = ()
    towers_read: Groups = ()  # read by towers beside the trunk's representation
    tower_gate: TowerGate | None = None
    towers_of: Mapping[Name, TowerOf] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        read = {*self.experts_read, *self.gates_read, *self.towers_read}
        read.update(name for tower in self.towers_of.values() for name in tower.reads or ())
        if unknown := sorted(read - set(self.groups)):
            known = ", ".join(self.groups) or "none"
            raise ValueError(f"[model.groups] lacks {', '.join(unknown)} (it has: {known})")
        for block in self.inputs:
            if read and isinstance(block, CrossInput | SceneInput):
                raise ValueError(
                    f'an input of kind "{block.kind}" mixes all features in every column, so no'
                    f" group of them can be read apart ({', '.join(sorted(read))})"
                )
        if (self.experts_read or self.gates_read) and not self._reads_columns:
            raise ValueError(
                "experts_read and gates_read need a trunk whose experts and gates read the features"
                " as they are: no stem, no feature-selection gate"
            )
        if shared := self._reads_across_tables:
            raise ValueError(
                "trunk stem keeps every task's embeddings from the other tasks' losses, and"
                f" {shared} would let them through: set linear = false, and leave out inputs,"
                " towers_read, tower_gate and towers with reads or a network"
            )
        return self

    @property
    def _reads_across_tables(self) -> str:
        """The first thing beside a stem trunk that reads every task's embeddings."""
        if self.trunk.kind != "stem":
            return ""
        names = ("linear", "inputs", "towers_read", "tower_gate")
        found = [name for name in names if getattr(self, name)]
        found += [f"towers_of.{k}" for k, of in self.towers_of.items() if of.reads or of.network]
        return found[0] if found else ""

    @property
    def _reads_columns(self) -> bool:
        gate = getattr(self.trunk, "gate", None)
        return self.trunk.kind != "stem" and gate != "feature-selection"

    @property
    def attentions(self) -> tuple[AttentionInput, ...]:
        return tuple(block for block in self.inputs if isinstance(block, AttentionInput))
