"""[model] -> the towers of some tasks: one bank, or one for every task that has its own kind."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from service.contract.features import Categorical, FeatureSchema, Name
from training.config.inputs import TowerOf
from training.config.model import Model
from training.data.errors import DataError
from training.modules.blocks import Blocks, Layout
from training.modules.expert_bank import ExpertBank
from training.modules.gate_nu import GateNU
from training.modules.linear import BlockLinear
from training.modules.scene_towers import SceneTowers
from training.modules.tower_bank import TowerBank
from training.rankers.input_blocks import group_columns

MAX_SCENES = 100


class TowersApart(nn.Module):
    """Towers of different kinds, in banks.  (B, T, H) and Blocks -> (B, sum of outputs)

    Args:
        banks: each with the tasks (numbers below T) that it answers for.
        networks: task -> a network from the blocks whose answer (B, 1, 1, H') its bank reads in
            place of the trunk's.
    """

    def __init__(
        self,
        banks: Sequence[tuple[Sequence[int], nn.Module]],
        networks: Mapping[int, nn.Module],
    ) -> None:
        super().__init__()
        self.tasks = [tuple(tasks) for tasks, _ in banks]
        self.banks = nn.ModuleList(bank for _, bank in banks)
        self.networks = nn.ModuleDict({str(task): net for task, net in networks.items()})
        sizes = {
            task: size
            for tasks, bank in banks
            for task, size in zip(tasks, bank.outputs, strict=True)
        }
        self.outputs = tuple(sizes[task] for task in range(len(sizes)))
        of_banks = [task for tasks in self.tasks for task in tasks for _ in range(sizes[task])]
        order = sorted(range(len(of_banks)), key=lambda column: of_banks[column])
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def forward(self, streams: Tensor, blocks: Blocks) -> Tensor:
        logits = [
            bank(self._read(tasks, streams, blocks), blocks)
            for tasks, bank in zip(self.tasks, self.banks, strict=True)
        ]
        return torch.cat(logits, dim=1)[:, self.order]

    def _read(self, tasks: Sequence[int], streams: Tensor, blocks: Blocks) -> Tensor:
        own = str(tasks[0])
        if own in self.networks:
            return self.networks[own](blocks).squeeze(2)
        return streams[:, list(tasks)]

    def set_bias(self, task: int, logits: Tensor | float) -> None:
        """As `TowerBank.set_bias`."""
        for tasks, bank in zip(self.tasks, self.banks, strict=True):
            if task in tasks:
                bank.set_bias(tasks.index(task), logits)


def scene_features(schema: FeatureSchema, model: Model) -> tuple[Name, ...]:
    """The features that tell a tower's scene.

    Raises:
        DataError: one that the schema lacks, that is no categorical, or that has too many values.
    """
    names = sorted({tower.scenes for tower in model.towers_of.values() if tower.scenes})
    for name in names:
        feature = schema.by_name.get(name)
        if not isinstance(feature, Categorical):
            raise DataError(f"[model.towers_of] scenes: {name!r} is no categorical feature")
        if _rows(schema, name) > MAX_SCENES:
            raise DataError(
                f"[model.towers_of] scenes: {name} has {_rows(schema, name):,} values, and each"
                f" would be a tower (at most {MAX_SCENES})"
            )
    return tuple(names)


def build_towers(
    schema: FeatureSchema,
    layout: Layout,
    model: Model,
    names: Sequence[str],
    outputs: Sequence[int],
) -> TowerBank | TowersApart:
    """Towers of the named tasks, which have that many outputs each."""
    common = [at for at, name in enumerate(names) if name not in model.towers_of]
    kinds = [(common, TowerOf())] if common else []
    kinds += [([at], model.towers_of[n]) for at, n in enumerate(names) if n in model.towers_of]
    banks, networks = [], {}
    for tasks, kind in kinds:
        if kind.network is not None:
            networks[tasks[0]] = _network(layout, model, kind)
        banks.append((tasks, _bank(schema, layout, model, kind, [outputs[at] for at in tasks])))
    if len(banks) == 1 and not networks and isinstance(banks[0][1], TowerBank):
        return banks[0][1]
    return TowersApart(banks, networks)


def _network(layout: Layout, model: Model, kind: TowerOf) -> ExpertBank:
    dropout = model.dropout if kind.dropout is None else kind.dropout
    network = ExpertBank(layout.widths, groups=1, experts=1, hidden=kind.network, dropout=dropout)
    if kind.reads:
        network.first.read_only(group_columns(layout, model.groups, kind.reads))
    return network


def _bank(
    schema: FeatureSchema, layout: Layout, model: Model, kind: TowerOf, outputs: Sequence[int]
) -> TowerBank | SceneTowers:
    def made(outputs: Sequence[int]) -> TowerBank:
        hidden = model.towers if kind.hidden is None else kind.hidden
        width_in = kind.network[-1] if kind.network else model.trunk.hidden[-1]
        tasks = len(outputs)
        gates = []
        if model.tower_gate is not None:
            prior, gate = model.tower_gate.prior, {"hidden": model.tower_gate.hidden}
            gates = [
                GateNU(layout, prior, groups=tasks, width_out=width, **gate)
                for width in (width_in, *hidden)
            ]
        first = hidden[0] if hidden else max(outputs)
        return TowerBank(
            tasks=tasks,
            width_in=width_in,
            hidden=hidden,
            dropout=model.dropout if kind.dropout is None else kind.dropout,
            outputs=outputs,
            beside=_beside(layout, model, kind, tasks, first),
            gates=gates,
        )

    common = made(outputs)
    if kind.scenes is None:
        return common
    count = _rows(schema, kind.scenes)
    return SceneTowers(common, made([*outputs] * count), feature=kind.scenes)


def _beside(
    layout: Layout, model: Model, kind: TowerOf, tasks: int, width: int
) -> BlockLinear | None:
    read = model.towers_read if kind.reads is None else kind.reads
    if not read or kind.network is not None:
        return None
    layer = BlockLinear(layout.widths, tasks, width, bias=False)
    layer.read_only(group_columns(layout, model.groups, read))
    return layer


def _rows(schema: FeatureSchema, feature: str) -> int:
    """How many ids the feature has, out-of-vocabulary included."""
    ids = schema.by_name[feature]
    return (schema.by_name[ids.shares] if ids.shares else ids).own_rows
