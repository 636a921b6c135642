"""The objective: which tasks have a loss, and how losses add up."""

import torch

from training.config.task import Task
from training.losses import binary, product, squared
from training.objective import Objective

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
