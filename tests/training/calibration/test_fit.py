"""Calibrations of a run: on which rows, what is recorded, what becomes of odd rows."""

import pytest
import torch

from training.calibration.fit import fit_calibrations, install
from training.calibration.platt import fit_platt
from training.config.task import Task
from training.readouts.readouts import build_readouts

TASKS = (
    Task(name="ctr", label="click", calibrate="platt"),
    Task(name="like", label="like", space="click", calibrate="isotonic"),
    Task(name="vtr", label="long_view"),
    Task(name="both", label="like", product=("ctr", "like"), meaning="x"),
)
NAMES = ("ctr", "like", "vtr")


def _validation(n=30_000):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 3, generator=random) - 1
    truth = torch.sigmoid(0.5 * logits - 0.7)
    happened = (torch.rand(n, 3, generator=random) < truth).float()
    labels = torch.cat([happened, happened[:, :1] * happened[:, 1:2]], dim=1)
    spaces = torch.ones(n, 4, dtype=torch.bool)
    spaces[:, 1] = labels[:, 0] > 0
    return logits, labels, spaces


def test_every_head_is_fitted_on_its_own_space_and_recorded_before_and_after():
    logits, labels, spaces = _validation()
    found = fit_calibrations(TASKS, NAMES, logits, labels, spaces)
    assert list(found) == ["ctr", "like"]
    ctr, like = found["ctr"].record, found["like"].record
    assert (ctr.method, ctr.rows) == ("platt", len(logits))
    assert (like.method, like.rows) == ("isotonic", int(spaces[:, 1].sum()))
    before = torch.sigmoid(logits[:, 0]).sum().item() / labels[:, 0].sum().item()
    assert ctr.before == pytest.approx(before, rel=1e-5)
    assert ctr.before > 1.2
    assert like.before > 1.2
    assert 0.97 < ctr.after < 1.03
    assert 0.97 < like.after < 1.03


def test_after_is_measured_on_rows_that_the_fit_did_not_see():
    logits, labels, spaces = _validation(3000)
    record = fit_calibrations(TASKS, NAMES, logits, labels, spaces)["ctr"].record
    z, y = logits[:, 0], labels[:, 0]
    even, odd = fit_platt(z[::2], y[::2]), fit_platt(z[1::2], y[1::2])
    crossed = (odd(z[::2]).sum() + even(z[1::2]).sum()).item() / y.sum().item()
    assert record.after == pytest.approx(crossed, rel=1e-5)
    assert record.after != pytest.approx(1, abs=1e-7)


def test_heads_are_read_through_their_calibrations_and_only_these():
    logits, labels, spaces = _validation()
    readouts = build_readouts(TASKS)
    found = fit_calibrations(TASKS, NAMES, logits, labels, spaces)
    install(readouts, found)
    assert torch.equal(readouts["ctr"](logits[:, 0]), found["ctr"].module(logits[:, 0]))
    assert torch.equal(readouts["vtr"](logits[:, 2]), torch.sigmoid(logits[:, 2]))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_label_that_never_varies_leaves_the_head_as_it_is(value):
    logits, labels, spaces = _validation(500)
    labels[:, 0] = value
    found = fit_calibrations(TASKS[:1], NAMES, logits, labels, spaces)["ctr"]
    assert found.module is None
    assert found.record.method == "none"
    assert found.record.rows == 500
    assert (found.record.before is None) == (value == 0)


def test_a_space_without_rows_leaves_the_head_as_it_is():
    logits, labels, spaces = _validation(50)
    spaces[:, 0] = False
    found = fit_calibrations(TASKS[:1], NAMES, logits, labels, spaces)["ctr"]
    assert (found.module, found.record.rows, found.record.before) == (None, 0, None)
