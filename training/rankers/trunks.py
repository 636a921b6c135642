"""[model.trunk] -> the trunk."""

from collections.abc import Callable

from torch import nn

from training.config.trunks import (
    AdaTTTrunk,
    AITMTrunk,
    CGCTrunk,
    MLMMoETrunk,
    MMoETrunk,
    OMoETrunk,
    PLETrunk,
    SharedBottomTrunk,
    STEMTrunk,
    Trunk,
)
from training.modules.blocks import Layout
from training.rankers.adatt import AdaTT
from training.rankers.aitm import AITM
from training.rankers.cgc import CGC
from training.rankers.field_selection import FieldSelection
from training.rankers.ml_mmoe import MLMMoE
from training.rankers.mmoe import MMoE
from training.rankers.omoe import OMoE
from training.rankers.ple import PLE
from training.rankers.shared_bottom import SharedBottom
from training.rankers.stem import STEM

_TRUNKS: dict[type, Callable[..., nn.Module]] = {
    SharedBottomTrunk: SharedBottom,
    OMoETrunk: OMoE,
    MMoETrunk: MMoE,
    MLMMoETrunk: MLMMoE,
    CGCTrunk: CGC,
    PLETrunk: PLE,
    AITMTrunk: AITM,
    AdaTTTrunk: AdaTT,
}


def embedding_tables(trunk: Trunk, *, tasks: int) -> int:
    """How many tables the trunk reads: the embedding is that many times as wide."""
    return tasks + 1 if isinstance(trunk, STEMTrunk) else 1


def build_trunk(layout: Layout, trunk: Trunk, *, tasks: int, dropout: float) -> nn.Module:
    """Blocks of this layout -> (B, T, H)."""
    arguments = trunk.model_dump(exclude={"kind"}) | {"tasks": tasks, "dropout": dropout}
    if isinstance(trunk, STEMTrunk):
        return STEM(layout, **arguments)
    make = _TRUNKS[type(trunk)]
    if arguments.get("gate") != "feature-selection":
        return make(layout.widths, **arguments)
    inside = make(layout.widths.total, **arguments | {"gate": "softmax"})
    return FieldSelection(layout, inside, tasks=tasks)
