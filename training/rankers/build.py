"""Configuration -> Ranker: the only file that knows both."""

from collections.abc import Sequence

from service.contract.features import FeatureSchema
from training.config.model import Model
from training.config.task import Task
from training.modules.embedding import FeatureEmbedding
from training.modules.linear import BlockLinear
from training.rankers.columns import imputation
from training.rankers.input_blocks import build_input_blocks, check_features, read_groups
from training.rankers.ranker import Ranker
from training.rankers.towers import build_towers, scene_features
from training.rankers.trunks import build_trunk, embedding_tables
from training.readouts.readouts import build_readouts


def build_ranker(schema: FeatureSchema, model: Model, tasks: Sequence[Task]) -> Ranker:
    """The ranker of a run, with PyTorch's current random state.

    A product head has no tower of its own; an auxiliary task has a tower but no stream in the
    trunk.
    """
    main = [t.name for t in tasks if t.product is None and t.beside is None]
    beside = {t.name: t.beside for t in tasks if t.beside is not None}
    beside |= {imputation(t.name): t.beside or t.name for t in tasks if t.imputed}
    outputs = {t.name: t.outputs for t in tasks}
    dim = model.embedding * embedding_tables(model.trunk, tasks=len(main))
    check_features(schema, model)
    embedding = FeatureEmbedding(
        schema,
        dim=dim,
        log1p=model.log1p,
        clip=model.clip,
        pooling=model.pooling,
        unpooled=[block.sequence for block in model.attentions],
        identified=scene_features(schema, model),
    )
    inputs, layout = build_input_blocks(schema, embedding.layout, model, dim=dim)
    trunk = build_trunk(layout, model.trunk, tasks=len(main), dropout=model.dropout)
    read_groups(trunk, layout, model)
    of_main, of_beside = ([outputs.get(n, 1) for n in names] for names in (main, beside))
    every = sum(of_main) + sum(of_beside)
    towers = build_towers(schema, layout, model, main, of_main)
    auxiliary = None
    if beside:
        auxiliary = build_towers(schema, layout, model, list(beside), of_beside)
    return Ranker(
        embedding=embedding,
        inputs=inputs,
        trunk=trunk,
        towers=towers,
        tasks=main,
        beside=beside,
        auxiliary=auxiliary,
        linear=BlockLinear(layout.widths, every, 1, bias=False) if model.linear else None,
        readouts=build_readouts(tasks, schema),
    )
