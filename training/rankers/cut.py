"""A ranker cut into three functions: what the user gives, what an item gives, what needs both.

The first layers are sums W_u u + W_i i + W_x x + b (`BlockLinear`), so every summand can be
computed where its inputs are known. A *part* is the summands of all first layers side by side,
(B, P): experts, gates and the linear term.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.contract.features import FeatureSchema, IdFeature, Side
from training.modules.embedding import FeatureEmbedding
from training.modules.linear import BlockLinear
from training.rankers.heads import Heads, head_values

_SIDES: dict[str, tuple[Side, ...]] = {
    "user": ("user", "context"),
    "item": ("item",),
    "rank": ("cross",),
}


class NotCut(ValueError):
    """A ranker that is served whole; the sentence says why."""


@dataclass(frozen=True)
class CutHeads:
    """The three modules. `user` and `item` give a part; `rank` takes both and the cross inputs."""

    user: "SidePart"
    item: "SidePart"
    rank: "RankHeads"
    width: int  # P


def cut(heads: Heads, schema: FeatureSchema) -> CutHeads:
    """Cut the heads of a ranker.

    Raises:
        NotCut: one side has no features, or the trunk mixes the sides before its first layers.
    """
    ranker = heads.ranker
    for block in ranker.inputs:
        raise NotCut(f"not cut: {block.called} mixes the sides before the first layers")
    widths = ranker.embedding.widths
    if not widths.user:
        raise NotCut("not cut: no user or context feature, so nothing is computed once a request")
    if not widths.item:
        raise NotCut("not cut: no item feature, so nothing can be kept by item")
    for head in (name for name, factors in heads.heads.items() if not factors):
        if ranker.readouts[head].reads_inputs:
            raise NotCut(f"not cut: head {head} reads an input beside its logit")
    embedding = {name: _embedding_of(ranker.embedding, schema, s) for name, s in _SIDES.items()}
    rest = nn.ModuleDict({"trunk": ranker.trunk, "towers": ranker.towers})
    if ranker.linear is not None:
        rest["linear"] = ranker.linear
    layers = [layer for layer in rest.modules() if isinstance(layer, BlockLinear)]
    if not layers:
        raise NotCut("not cut: no layer reads the embedded blocks side by side")
    user, item, cross = torch.cat([layer.whole_weight for layer in layers], dim=1).split(widths)
    bias = torch.cat([_bias(layer) for layer in layers])
    inputs = {
        n: [i for i, (s, _, _) in schema.inputs.items() if s in sides]
        for n, sides in _SIDES.items()
    }
    rest = _with_first_layers_given(rest, layers)
    parts = CutHeads(
        user=SidePart(embedding["user"], inputs["user"], user, bias).eval(),
        item=SidePart(embedding["item"], inputs["item"], item).eval(),
        rank=RankHeads(heads, rest, embedding["rank"], cross, inputs["rank"]).eval(),
        width=len(bias),
    )
    _try(parts, schema)
    return parts


def _try(parts: CutHeads, schema: FeatureSchema) -> None:
    """Run the rest of the ranker once: a trunk that needs more than sums raises NotCut."""
    sums = torch.zeros(1, parts.width)
    cross = [schema.inputs[name] for name in parts.rank.inputs]
    with torch.inference_mode():
        parts.rank(sums, sums, *(torch.zeros(1, w, dtype=getattr(torch, t)) for _, t, w in cross))


class SidePart(nn.Module):
    """Encoded inputs of one side -> its summands of all first layers, (B, P)."""

    def __init__(
        self,
        embedding: FeatureEmbedding,
        inputs: Sequence[str],
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.inputs = embedding, tuple(inputs)
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, *inputs: Tensor) -> Tensor:
        part = self.embedding(dict(zip(self.inputs, inputs, strict=True))).whole @ self.weight
        return part if self.bias is None else part + self.bias


class RankHeads(nn.Module):
    """(1, P) of the user, (B, P) of the items and the cross inputs -> one (B,) tensor a head."""

    def __init__(
        self,
        heads: Heads,
        rest: nn.ModuleDict,
        embedding: FeatureEmbedding,
        weight: Tensor,
        inputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.rest, self.heads = rest, heads.heads
        self.names, self.readouts = heads.ranker.logit_names, heads.ranker.readouts
        self.embedding, self.inputs = embedding, tuple(inputs)
        self.register_buffer("weight", weight.detach().clone())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        user_part, item_part, *cross = inputs
        total = item_part + user_part
        if cross:
            blocks = self.embedding(dict(zip(self.inputs, cross, strict=True)))
            total = total + blocks.whole @ self.weight
        x = _Sums(total)
        logits = self.rest["towers"](self.rest["trunk"](x), x)
        if "linear" in self.rest:
            logits = logits + self.rest["linear"](x).squeeze(2)[:, : logits.shape[1]]
        return tuple(head_values(logits, self.names, self.heads, self.readouts).values())


class _Sums:
    """Stands where a trunk expects `Blocks`, but holds only what its first layers gave, (B, P)."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __getattr__(self, name: str) -> Tensor:
        raise NotCut(
            f"not cut: the trunk reads {name!r} of the embedded blocks before its first layers"
        )


class _GivenLayer(nn.Module):
    """Takes the place of a `BlockLinear`: finds its result in the sums.  _Sums -> (B, G, H)"""

    def __init__(self, layer: BlockLinear, start: int) -> None:
        super().__init__()
        self.shape = (layer.groups, layer.width_out)
        self.start, self.end = start, start + layer.groups * layer.width_out

    def forward(self, x: _Sums) -> Tensor:
        return x.values[:, self.start : self.end].unflatten(1, self.shape)


def _with_first_layers_given(rest: nn.ModuleDict, layers: Iterable[BlockLinear]) -> nn.ModuleDict:
    """A copy of `rest` that finds its first layers' results in a part, in the order of `layers`."""
    start, given = 0, {}
    for layer in layers:
        given[id(layer)] = _GivenLayer(layer, start)
        start = given[id(layer)].end
    # deepcopy takes what its memo holds under an object's id for that object's copy
    return deepcopy(rest, dict(given))


def _bias(layer: BlockLinear) -> Tensor:
    return layer.weight.new_zeros(layer.weight.shape[1]) if layer.bias is None else layer.bias


def _embedding_of(
    whole: FeatureEmbedding, schema: FeatureSchema, sides: Iterable[Side]
) -> FeatureEmbedding:
    """The embedding of some sides alone, with the table rows they read."""
    narrow = _only(schema, sides)
    part = FeatureEmbedding(
        narrow, dim=whole.dim, log1p=whole.log1p, clip=whole.clip, pooling=whole.pooling
    )
    for side, module in part.sides.items():
        module.load_state_dict(whole.sides[side].state_dict())
    with torch.no_grad():
        for feature in narrow:
            if isinstance(feature, IdFeature):
                part.rows(feature.name).copy_(whole.rows(feature.name))
    return part


def _only(schema: FeatureSchema, sides: Iterable[Side]) -> FeatureSchema:
    """The features of some sides; one that shares another side's vocabulary brings it along."""
    features, owners = [], {}
    for feature in (f for f in schema if f.side in sides):
        if isinstance(feature, IdFeature) and feature.shares is not None:
            owner = schema.by_name[feature.shares]
            if owner.side not in sides:
                own = {"vocabulary": owner.vocabulary, "hash_buckets": owner.hash_buckets}
                shares = owners.setdefault(owner.name, feature.name)
                changed = {"shares": shares} if shares != feature.name else {"shares": None, **own}
                feature = feature.model_copy(update=changed)
        features.append(feature)
    # unchecked: here a list feature may own what others share
    return FeatureSchema.model_construct(features=tuple(features))
