"""The objective: which tasks have a loss, and how losses add up."""

import torch

from service.contract.features import FeatureSchema, Numeric
from training.config.task import Task
from training.config.train import Calibrator
from training.losses import binary, product, squared
from training.objective import Objective
from training.readouts.readouts import build_readouts

TASKS = (
    Task(name="ctr", label="click", weight=2.0),
    Task(name="cvr", label="buy", space="click", loss="none"),
    Task(name="ctcvr", label="buy", product=("ctr", "cvr")),
    Task(name="vcr", label="vcr", kind="regression"),
    Task(name="soft", label="vcr", kind="regression", loss="bce", meaning="as cross-entropy"),
)


def test_each_loss_reads_its_own_logits_labels_and_space():
    logits = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.rand(6, 5, dtype=torch.float64)
    spaces = torch.rand(6, 5) < 0.7
    objective = Objective(TASKS, ("ctr", "cvr", "vcr", "soft"))
    losses = objective.losses(logits, labels, spaces)
    assert tuple(losses) == objective.names == ("ctr", "ctcvr", "vcr", "soft")
    rows = [spaces[:, at] for at in range(5)]
    expected = {
        "ctr": binary(logits[rows[0], 0], labels[rows[0], 0]).mean(),
        "ctcvr": product([logits[rows[2], 0], logits[rows[2], 1]], labels[rows[2], 2]).mean(),
        "vcr": squared(logits[rows[3], 2], labels[rows[3], 3]).mean(),
        "soft": binary(logits[rows[4], 3], labels[rows[4], 4]).mean(),
    }
    for name, loss in expected.items():
        assert losses[name] == loss
    total = 2 * expected["ctr"] + expected["ctcvr"] + expected["vcr"] + expected["soft"]
    torch.testing.assert_close(objective.total(losses), total)


def _escm(**debias):
    return (
        Task(name="ctr", label="click"),
        Task(
            name="cvr",
            label="buy",
            space="click",
            debias={"kind": "ips", "propensity": "ctr", "floor": 0.05} | debias,
        ),
    )


def _clicks(n=400):
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(n, 3, generator=random, dtype=torch.float64).requires_grad_()
    clicked = torch.rand(n, generator=random) < 0.3
    bought = clicked & (torch.rand(n, generator=random) < 0.5)
    labels = torch.stack([clicked, bought], dim=1).double()
    labels[:, 1][~clicked] = torch.nan
    return logits, labels, torch.stack([torch.ones_like(clicked), clicked], dim=1)


NAMES = ("ctr", "cvr", "cvr#imputed")


def _cvr_parts(logits, labels, spaces, floor=0.05):
    clicked = spaces[:, 1]
    error = binary(logits[:, 1], torch.where(clicked, labels[:, 1], 0))
    q = torch.sigmoid(logits[:, 0]).clamp(min=floor)
    return clicked, torch.where(clicked, error, 0), q


def test_ips_is_the_clicked_error_over_the_propensity_in_the_mean_of_all_impressions():
    logits, labels, spaces = _clicks()
    found = Objective(_escm(), NAMES[:2]).losses(logits, labels, spaces)["cvr"]
    _, error, q = _cvr_parts(logits, labels, spaces)
    torch.testing.assert_close(found, (error / q).sum() / len(logits))


def test_the_propensity_is_floored_and_gets_no_gradient():
    logits, labels, spaces = _clicks()
    tasks = _escm(floor=0.4)
    found = Objective(tasks, NAMES[:2]).losses(logits, labels, spaces)["cvr"]
    (gradient,) = torch.autograd.grad(found, logits)
    assert torch.equal(gradient[:, 0], torch.zeros(len(logits), dtype=torch.float64))
    clicked, _, q = _cvr_parts(logits, labels, spaces, floor=0.4)
    weight = torch.where(clicked, (torch.sigmoid(logits[:, 1]) - labels[:, 1]) / q, 0)
    torch.testing.assert_close(gradient[:, 1], weight / len(logits))
    assert (q[clicked] == 0.4).any()


def test_self_normalised_ips_divides_by_the_sum_of_the_weights():
    logits, labels, spaces = _clicks()
    tasks = _escm(self_normalised=True)
    found = Objective(tasks, NAMES[:2]).losses(logits, labels, spaces)["cvr"]
    clicked, error, q = _cvr_parts(logits, labels, spaces)
    torch.testing.assert_close(found, (error / q).sum() / (1 / q)[clicked].sum())


def test_dr_adds_the_imputation_of_all_impressions_and_its_own_loss():
    logits, labels, spaces = _clicks()
    found = Objective(_escm(kind="dr"), NAMES).losses(logits, labels, spaces)["cvr"]
    clicked, error, q = _cvr_parts(logits, labels, spaces)
    guess = torch.nn.functional.softplus(logits[:, 2])
    left = torch.where(clicked, error - guess, 0)
    torch.testing.assert_close(found, (guess + left / q).mean() + (left**2 / q).mean())


def test_without_clicks_or_rows_a_debiased_loss_is_zero_not_nan():
    logits, labels, spaces = _clicks()
    for tasks in (_escm(), _escm(self_normalised=True)):
        objective = Objective(tasks, NAMES[:2])
        unclicked = spaces & torch.tensor([True, False])
        assert objective.losses(logits, labels, unclicked)["cvr"] == 0
        assert objective.losses(logits, labels, spaces & False)["cvr"] == 0


def test_a_chain_as_propensity_is_the_product_of_its_towers():
    tasks = (
        Task(name="ctr", label="click"),
        Task(name="apply", label="apply", space="click", meaning="x"),
        Task(name="applied", label="apply", product=("ctr", "apply"), loss="none", meaning="x"),
        Task(
            name="approve",
            label="approve",
            space="apply",
            meaning="x",
            debias={"kind": "ips", "propensity": "applied", "floor": 1e-6},
        ),
    )
    logits = torch.randn(5, 3, dtype=torch.float64)
    labels, spaces = torch.ones(5, 4, dtype=torch.float64), torch.ones(5, 4, dtype=torch.bool)
    found = Objective(tasks, ("ctr", "apply", "approve")).losses(logits, labels, spaces)["approve"]
    q = torch.sigmoid(logits[:, 0]) * torch.sigmoid(logits[:, 1])
    torch.testing.assert_close(found, (binary(logits[:, 2], labels[:, 3]) / q).mean())


def test_a_long_chain_has_one_loss_on_all_its_logits():
    chain = ("ctr", "apply", "approve", "activate")
    tasks = (
        *(Task(name=n, label="x", loss="none", meaning="x") for n in chain),
        Task(name="all", label="x", product=chain, meaning="x"),
    )
    logits = torch.randn(50, 4, dtype=torch.float64)
    labels = (torch.rand(50, 5) < 0.3).double()
    found = Objective(tasks, chain).losses(logits, labels, torch.ones(50, 5, dtype=torch.bool))
    c = torch.sigmoid(logits).prod(1)
    expected = torch.nn.functional.binary_cross_entropy(c, labels[:, 4])
    torch.testing.assert_close(found["all"], expected)


def test_the_calibrator_is_a_loss_of_no_task_with_a_weight_of_its_own():
    tasks = (TASKS[0], TASKS[3])
    calibrator = Calibrator(chain=("ctr", "vcr"), weight=0.6)
    objective = Objective(tasks, ("ctr", "vcr"), calibrator=calibrator)
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    ones = torch.ones(2, 2, dtype=torch.float64)
    losses = objective.losses(logits, ones, ones.bool())
    assert tuple(losses) == ("ctr", "vcr", "calibrator")
    rise = torch.sigmoid(torch.tensor(1.0).double()) - 0.5
    torch.testing.assert_close(losses["calibrator"], rise / 2)
    torch.testing.assert_close(objective.besides(losses), 0.6 * rise / 2)
    assert objective.names == ("ctr", "vcr")
    torch.testing.assert_close(
        objective.total(losses), objective.of_tasks(losses).sum() + 0.6 * rise / 2
    )


def test_several_outputs_of_a_task_and_the_inputs_it_reads_find_their_loss():
    watch = {"label": "watch_s", "kind": "regression", "unit": "s", "meaning": "seconds"}
    tasks = (
        Task(name="ladder", watch={"kind": "ordinal", "bins": 3}, **watch),
        Task(name="ctr", label="click"),
        Task(name="rank", watch={"kind": "quantile", "duration": "len_s", "groups": 2}, **watch),
    )
    schema = FeatureSchema(features=(Numeric(name="len_s", side="item", default=0),))
    readouts = build_readouts(tasks, schema).double()
    inputs = {"item_values": 100 * torch.rand(40, 1, dtype=torch.float64)}
    labels = torch.rand(40, 3, dtype=torch.float64)
    spaces = torch.rand(40, 3) < 0.6
    readouts.fit(tasks, inputs, labels, spaces)
    logits = torch.randn(40, 5, dtype=torch.float64)
    names = ("ladder", "ladder", "ladder", "ctr", "rank")
    losses = Objective(tasks, names, readouts).losses(logits, labels, spaces, inputs)
    a, b, c = spaces.T
    ladder = readouts["ladder"].loss(logits[a, :3], labels[a, 0]).mean()
    rank = readouts["rank"].loss(logits[c, 4], labels[c, 2], inputs["item_values"][c, 0]).mean()
    assert losses["ladder"] == ladder
    assert losses["ctr"] == binary(logits[b, 3], labels[b, 1]).mean()
    assert losses["rank"] == rank
