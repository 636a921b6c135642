"""What the network shows: mixtures as its gates say them, cosines as its gradients have them."""

import pytest
import torch
from torch import nn

from service.contract.features import Categorical, FeatureSchema, Numeric
from training.config.model import Model
from training.config.task import Task
from training.dataset import Dataset
from training.objective import Objective
from training.rankers.build import build_ranker
from training.report.inside import gradient_conflicts, utilisation

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", hash_buckets=5),
        Numeric(name="price", side="item", default=0),
    )
)
TASKS = (Task(name="ctr", label="click"), Task(name="vtr", label="long_view"))
PLE = {"kind": "ple", "levels": 2, "own": 1, "shared": 2, "hidden": [8]}


def _ranker(trunk, tasks=TASKS):
    torch.manual_seed(0)
    model = Model.model_validate({"trunk": trunk, "towers": [4], "dropout": 0.3})
    return build_ranker(SCHEMA, model, tasks)


def _data(opposite=False, rows=300):
    random = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (rows, 1), generator=random).float()
    labels = torch.cat([label, 1 - label if opposite else label], dim=1)
    inputs = {
        "user_ids": torch.randint(0, 6, (rows, 1), generator=random, dtype=torch.int32),
        "item_values": torch.randn(rows, 1, generator=random),
    }
    return Dataset(inputs, labels, torch.ones(rows, 2, dtype=torch.bool))


def test_utilisation_is_the_mean_and_deviation_of_every_gate_over_the_rows():
    ranker, data = _ranker(PLE).eval(), _data()
    with torch.no_grad():
        for gate in ranker.trunk.gates.values():
            for weight in gate.parameters():
                weight.normal_()
        expected = ranker.trunk.mixtures(ranker.embedding(data.inputs))
    found = utilisation(ranker, data)
    assert list(found) == ["level 1", "level 2"]
    for level, tasks in found.items():
        assert list(tasks) == ["ctr", "vtr"]
        for at, mixture in enumerate(tasks.values()):
            assert mixture.experts == ("own 1", "shared 1", "shared 2")
            assert sum(mixture.mean) == pytest.approx(1)
            weights = expected[level][:, at].double()
            assert mixture.mean == pytest.approx(weights.mean(0).tolist(), abs=1e-6)
            deviation = weights.std(0, correction=0)
            assert mixture.deviation == pytest.approx(deviation.tolist(), abs=1e-5)
            assert min(mixture.deviation) > 0.01


def test_a_trunk_without_experts_has_no_utilisation():
    assert utilisation(_ranker({"kind": "shared-bottom", "hidden": [8]}), _data()) == {}


def test_an_expert_that_no_row_takes_is_left_out():
    class Trunk(nn.Module):
        pools = {"one": ("a", "b")}  # noqa: RUF012

        def forward(self, x):
            return x

        def mixtures(self, x):
            return {"one": torch.tensor([[[1.0, 0.0]]]).expand(len(x), 1, 2)}

    class Ranker(nn.Module):
        tasks = ("ctr",)

        def __init__(self):
            super().__init__()
            self.trunk = Trunk()
            self.anything = nn.Linear(1, 1)

        def forward(self, inputs):
            return self.trunk(inputs["x"])

    data = Dataset({"x": torch.ones(5, 2)}, torch.ones(5, 1), torch.ones(5, 1, dtype=torch.bool))
    assert utilisation(Ranker(), data)["one"]["ctr"].experts == ("a",)


@pytest.mark.parametrize(("opposite", "sign"), [(False, 1), (True, -1)])
def test_equal_tasks_agree_and_opposite_tasks_conflict(opposite, sign):
    ranker, data = _ranker({"kind": "shared-bottom", "hidden": [8]}), _data(opposite)
    with torch.no_grad():  # the same towers, unsure of every row: gradients differ in sign alone
        for weight in ranker.towers.parameters():
            weight[1] = weight[0]
        ranker.towers.out.weight.mul_(1e-4)
        ranker.towers.out.bias.zero_()
        ranker.linear.weight.zero_()
    objective = Objective(TASKS, ranker.logit_names)
    found = gradient_conflicts(ranker, objective, data, minibatch=100, seed=0)
    assert {c.part for c in found} == {"embedding", "trunk"}
    for conflict in found:
        assert conflict.tasks == ("ctr", "vtr")
        assert conflict.cosine == pytest.approx(sign, abs=1e-3)
        assert conflict.opposed == (sign < 0)
        assert conflict.minibatches == 3


def test_the_cosine_is_that_of_the_gradients_on_weights_both_tasks_reach():
    trunk = {"kind": "cgc", "own": 1, "shared": 1, "hidden": [8]}
    ranker, data = _ranker(trunk).eval(), _data()
    objective = Objective(TASKS, ranker.logit_names)
    found = gradient_conflicts(ranker, objective, data, minibatch=300, seed=0)
    losses = objective.losses(ranker(data.inputs), data.labels, data.spaces)
    shared = list(ranker.trunk.shared.parameters())
    sides = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in losses.values()
    ]
    expected = torch.cosine_similarity(*sides, dim=0).item()
    trunk = next(c for c in found if c.part == "trunk")
    assert trunk.cosine == pytest.approx(expected, abs=1e-5), "own experts and gates do not count"
