"""Configuration -> Ranker: the only file that knows both."""

from collections.abc import Sequence

from service.contract.features import FeatureSchema
from training.config.model import Model
from training.config.task import Task
from training.modules.embedding import FeatureEmbedding
from training.modules.linear import BlockLinear
from training.modules.tower_bank import TowerBank
from training.rankers.ranker import Ranker
from training.rankers.trunks import build_trunk, embedding_tables


def build_ranker(schema: FeatureSchema, model: Model, tasks: Sequence[Task]) -> Ranker:
    """The ranker of a run, with PyTorch's current random state.

    A product head has no tower of its own; an auxiliary task has a tower but no stream in the
    trunk.
    """
    main = [t.name for t in tasks if t.product is None and t.beside is None]
    beside = {t.name: t.beside for t in tasks if t.beside is not None}
    dim = model.embedding * embedding_tables(model.trunk, tasks=len(main))
    embedding = FeatureEmbedding(schema, dim=dim, log1p=model.log1p, clip=model.clip)
    trunk = build_trunk(embedding.layout, model.trunk, tasks=len(main), dropout=model.dropout)
    tower = {
        "width_in": model.trunk.hidden[-1],
        "hidden": model.towers,
        "dropout": model.dropout,
    }
    every = len(main) + len(beside)
    return Ranker(
        embedding=embedding,
        trunk=trunk,
        towers=TowerBank(tasks=len(main), **tower),
        tasks=main,
        beside=beside,
        auxiliary=TowerBank(tasks=len(beside), **tower) if beside else None,
        linear=BlockLinear(embedding.widths, every, 1, bias=False) if model.linear else None,
    )
