"""STEM: a task sees all experts and teaches its own and the shared ones alone."""

import pytest
import torch

from tests.training.rankers.trunks import EXACT, HIDDEN, made, size
from training.modules.blocks import Blocks, Field, Layout
from training.rankers.stem import STEM

TASKS, DIM = 2, 3
LAYOUT = Layout(
    (
        Field("user_id", DIM * (TASKS + 1), "user", embedded=True),
        Field("age", 1, "user", embedded=False),
        Field("item_id", DIM * (TASKS + 1), "item", embedded=True),
        Field("rate", 2, "cross", embedded=False),
    )
)
WIDTH = DIM + 1 + DIM + 2  # of one stream
EXPERT = (WIDTH + 1) * HIDDEN[0] + (HIDDEN[0] + 1) * HIDDEN[1]


def _trunk(**changes):
    return made(
        STEM(LAYOUT, **({"tasks": TASKS, "own": 2, "shared": 1, "hidden": HIDDEN} | changes))
    )


def _tables(rows=9):
    """Every stream's rows: user ids and item ids, each (streams, rows, DIM); then the numbers."""
    torch.manual_seed(0)
    ids = [torch.randn(TASKS + 1, rows, DIM, dtype=torch.float64) for _ in range(2)]
    numbers = [torch.randn(rows, width, dtype=torch.float64) for width in (1, 2)]
    return [tensor.requires_grad_() for tensor in (*ids, *numbers)]


def _blocks(user, item, age, rate):
    wide = [torch.cat(list(table), dim=1) for table in (user, item)]
    return Blocks(torch.cat([wide[0], age], dim=1), wide[1], rate)


def test_a_stream_reads_its_own_table_and_all_numbers():
    user, item, age, rate = _tables()
    x = _blocks(user, item, age, rate).whole
    for stream, columns in enumerate(_trunk().columns):
        expected = torch.cat([user[stream], age, item[stream], rate], dim=1)
        assert torch.equal(x[:, columns], expected)


@pytest.mark.parametrize("gate", ["softmax", "attention"])
@pytest.mark.parametrize("task", range(TASKS))
def test_a_loss_leaves_the_other_tasks_tables_and_experts_exactly_alone(gate, task):
    trunk, tables = _trunk(gate=gate), _tables()
    trunk(_blocks(*tables))[:, task].square().sum().backward()
    for table in tables[:2]:
        for stream in range(TASKS + 1):
            assert bool(table.grad[stream].any()) == (stream in (task, TASKS))
    for layer in (trunk.own.first, *trunk.own.rest):
        by_task = layer.weight.grad.unflatten(0, (TASKS, -1))
        assert [bool(part.any()) for part in by_task] == [t == task for t in range(TASKS)]
    assert trunk.shared.first.weight.grad.any()


def test_a_tasks_output_depends_on_the_other_tasks_table_all_the_same():
    trunk, (user, item, age, rate) = _trunk(), _tables()
    before = trunk(_blocks(user, item, age, rate))[:, 0]
    with torch.no_grad():
        user[1] += 1
    assert not torch.allclose(trunk(_blocks(user, item, age, rate))[:, 0], before)


def test_forward_is_a_loop_over_tasks():
    trunk, (user, item, age, rate) = _trunk(), _tables()
    streams = [torch.cat([user[s], age, item[s], rate], dim=1) for s in range(TASKS + 1)]
    own = trunk.own(torch.stack(streams[:-1], dim=1))
    shared = trunk.shared(streams[-1].unsqueeze(1))
    pool = torch.cat([own.flatten(1, 2), shared.flatten(1, 2)], dim=1)
    out = trunk(_blocks(user, item, age, rate))
    for k in range(TASKS):
        w = torch.softmax((streams[k] + streams[-1]) @ trunk.gate.select.weight[k], dim=1)
        torch.testing.assert_close(out[:, k], (w.unsqueeze(2) * pool).sum(1), **EXACT)


@pytest.mark.parametrize(("own", "shared"), [(1, 1), (2, 3)])
def test_parameters_are_counted(own, shared):
    pool = TASKS * own + shared
    assert size(_trunk(own=own, shared=shared)) == pool * EXPERT + TASKS * WIDTH * pool


def test_permuting_tasks_with_their_tables_experts_and_gates_permutes_the_outputs():
    trunk, (user, item, age, rate) = _trunk(own=1), _tables()
    before = trunk(_blocks(user, item, age, rate)).flip(1)
    order = [1, 0, 2]  # of the tables, and of the experts in the pool
    with torch.no_grad():
        for layer in (trunk.own.first, *trunk.own.rest):
            layer.weight.copy_(layer.weight.flip(0))
            layer.bias.copy_(layer.bias.flip(0))
        select = trunk.gate.select.weight
        select.copy_(select.flip(0)[:, :, order])
    after = trunk(_blocks(user[order], item[order], age, rate))
    torch.testing.assert_close(after, before, **EXACT)
