"""[[model.inputs]], [model.pooling] and [model.groups] -> what lies between embedding and trunk."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from service.contract.features import Categorical, FeatureSchema, IdFeature
from training.config.inputs import AttentionInput, CrossInput, FMInput, Input, SceneInput
from training.config.model import Model
from training.data.errors import DataError
from training.modules.blocks import Layout, UnknownField
from training.modules.cross_layers import CrossLayers
from training.modules.fm import FactorizationMachine
from training.modules.gate import AnyGate
from training.modules.linear import BlockLinear
from training.modules.scene_gate import SceneGate
from training.modules.target_attention import TargetAttention

_BLOCKS: dict[type, Callable[..., nn.Module]] = {
    FMInput: FactorizationMachine,
    CrossInput: CrossLayers,
    AttentionInput: TargetAttention,
    SceneInput: SceneGate,
}


def check_features(schema: FeatureSchema, model: Model) -> None:
    """Raise DataError where a list is pooled or attended to that the schema lacks."""
    lists = {f.name for f in schema if isinstance(f, IdFeature) and not isinstance(f, Categorical)}
    for name in model.pooling:
        if name not in lists:
            raise DataError(f"[model.pooling] {name}: no multi-valued feature ({_named(lists)})")
    for attention in model.attentions:
        if attention.sequence not in lists:
            raise DataError(
                f"[[model.inputs]] attention: {attention.sequence} is no multi-valued feature"
                f" ({_named(lists)})"
            )
        if schema.by_name[attention.sequence].shares is None:
            raise DataError(
                f"[[model.inputs]] attention: {attention.sequence} shares no other feature's ids,"
                " so it has no target"
            )


def build_input_blocks(
    schema: FeatureSchema, layout: Layout, model: Model, *, dim: int
) -> tuple[list[nn.Module], Layout]:
    """The blocks in their order, and the layout of what the last one gives."""
    blocks = []
    for config in model.inputs:
        block = _BLOCKS[type(config)](layout, **_arguments(config, schema, dim))
        layout = block.layout
        blocks.append(block)
    return blocks, layout


def group_columns(
    layout: Layout, groups: Mapping[str, Iterable[str]], read: Iterable[str]
) -> Tensor:
    """Columns of the features in any of the groups `read`.

    Raises:
        DataError: a pattern of a group that matches no feature.
    """
    fields = []
    for name in read:
        try:
            fields += layout.select(groups[name])
        except UnknownField as err:
            raise DataError(f"[model.groups] {name}: {err}") from err
    return layout.columns(fields)


def read_groups(trunk: nn.Module, layout: Layout, model: Model) -> None:
    """Let the trunk's experts and gates read their groups alone.

    Raises:
        DataError: a group's pattern that matches no feature; or the trunk has no gate that reads
            the features, or no expert.
    """
    group_columns(layout, model.groups, model.groups)
    for role, read in (("gates", model.gates_read), ("experts", model.experts_read)):
        if not read:
            continue
        columns = group_columns(layout, model.groups, read)
        layers = [layer for of, layer in _first_layers(trunk) if of == role]
        if not layers:
            raise DataError(f"{role}_read: a {model.trunk.kind} trunk has no {role} to read it")
        for layer in layers:
            layer.read_only(columns)


def _first_layers(trunk: nn.Module) -> Iterable[tuple[str, BlockLinear]]:
    for module in trunk.modules():
        for child in module.children():
            if isinstance(child, BlockLinear):
                yield "gates" if isinstance(module, AnyGate) else "experts", child


def _arguments(config: Input, schema: FeatureSchema, dim: int) -> dict[str, object]:
    arguments = config.model_dump(exclude={"kind"})
    match config:
        case FMInput():
            return arguments | {"dim": dim}
        case AttentionInput(sequence=sequence, name=name):
            target = schema.by_name[sequence].shares
            return arguments | {"target": target, "name": name or f"attention_{sequence}"}
    return arguments


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "there is none"
