"""Gates are distributions; the papers' is decided by the selector alone, attention by both."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.modules.gate import AttentionGate, Gate, make_gate, mix, watch

WIDTHS = Widths(user=5, item=4, cross=3)


def _blocks(rows):
    torch.manual_seed(1)
    return Blocks(*(torch.randn(rows, w, dtype=torch.float64) for w in WIDTHS))


@pytest.mark.parametrize("rows", [1, 7])
def test_gate_weights_are_a_distribution_per_group(rows):
    weights = Gate(WIDTHS, groups=2, pool=3).double().weights(_blocks(rows))
    assert weights.shape == (rows, 2, 3)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(rows, 2, dtype=torch.float64))


@pytest.mark.parametrize("rows", [1, 7])
def test_a_gate_is_a_loop_over_groups_and_experts(rows):
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    x, pool = _blocks(rows), torch.randn(rows, 2, 3, 4, dtype=torch.float64)
    weights = gate.weights(x)
    expected = [sum(weights[:, g, e, None] * pool[:, g, e] for e in range(3)) for g in range(2)]
    torch.testing.assert_close(gate(x, pool), torch.stack(expected, dim=1), rtol=0, atol=1e-12)


def test_a_shared_pool_is_the_same_pool_for_every_group():
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    x, pool = _blocks(7), torch.randn(7, 1, 3, 4, dtype=torch.float64)
    assert torch.equal(gate(x, pool), gate(x, pool.expand(-1, 2, -1, -1)))


def test_a_later_gate_reads_only_its_own_groups_selector():
    gate = Gate(5, groups=2, pool=3).double()
    selector = torch.randn(7, 2, 5, dtype=torch.float64)
    before = gate.weights(selector)
    selector[:, 1] += 1
    after = gate.weights(selector)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_a_pool_of_equal_experts_makes_the_gate_irrelevant():
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    one = torch.randn(7, 1, 1, 4, dtype=torch.float64)
    out = gate(_blocks(7), one.expand(-1, 2, 3, -1))
    torch.testing.assert_close(out, one[:, 0].expand(-1, 2, -1), rtol=0, atol=1e-12)


def test_a_gate_has_no_bias():
    assert [name for name, _ in Gate(WIDTHS, groups=2, pool=3).named_parameters()] == [
        "select.weight"
    ]


def test_adding_a_constant_to_all_logits_changes_nothing():
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    before = gate.weights(_blocks(7))
    with torch.no_grad():
        of_group = gate.select.weight.unflatten(1, (2, 3))
        of_group += torch.randn(WIDTHS.total, 2, 1, dtype=torch.float64)
    torch.testing.assert_close(gate.weights(_blocks(7)), before, rtol=0, atol=1e-12)


def test_a_gate_that_reads_nothing_is_the_mean():
    gate = Gate(WIDTHS, groups=2, pool=4).double()
    torch.nn.init.zeros_(gate.select.weight)
    assert gate.weights(_blocks(7)).eq(0.25).all()


def _attention(width_in=WIDTHS):
    torch.manual_seed(2)
    gate = AttentionGate(width_in, groups=2, width=4).double()
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter)
    return gate


@pytest.mark.parametrize("rows", [1, 7])
def test_attention_is_a_loop_over_groups_and_experts(rows):
    gate, x = _attention(), _blocks(rows)
    pool = torch.randn(rows, 2, 3, 4, dtype=torch.float64)
    query = (x.whole @ gate.query.weight).unflatten(1, (2, 4))
    for g in range(2):
        keys = [pool[:, g, p] @ gate.key for p in range(3)]
        logits = torch.stack([(query[:, g] * key).sum(1) / 2 for key in keys], dim=1)
        w = torch.softmax(logits, dim=1)
        expected = sum(w[:, p, None] * pool[:, g, p] for p in range(3))
        torch.testing.assert_close(gate(x, pool)[:, g], expected, rtol=0, atol=1e-12)


def test_attention_that_asks_nothing_is_the_mean_of_the_pool():
    gate, pool = _attention(), torch.randn(7, 1, 3, 4, dtype=torch.float64)
    torch.nn.init.zeros_(gate.query.weight)
    mean = pool.mean(dim=2).expand(-1, 2, -1)
    torch.testing.assert_close(gate(_blocks(7), pool), mean, rtol=0, atol=1e-12)


def test_attention_does_not_care_for_the_order_of_experts():
    gate, pool = _attention(), torch.randn(7, 1, 3, 4, dtype=torch.float64)
    x, order = _blocks(7), torch.tensor([2, 0, 1])
    torch.testing.assert_close(gate(x, pool[:, :, order]), gate(x, pool), rtol=0, atol=1e-12)
    weights = gate.weights(x, pool)
    torch.testing.assert_close(gate.weights(x, pool[:, :, order]), weights[:, :, order])


def test_attention_to_constant_answers_weighs_as_the_linear_gate():
    attention, x = _attention(), _blocks(7)
    answers = torch.randn(1, 1, 3, 4, dtype=torch.float64)
    linear = Gate(WIDTHS, groups=2, pool=3).double()
    keys = answers[0, 0] @ attention.key  # (P, H)
    with torch.no_grad():
        query = attention.query.weight.unflatten(1, (2, 4))
        linear.select.weight.copy_((query @ keys.T / 2).flatten(1))
    found = attention.weights(x, answers.expand(7, -1, -1, -1))
    torch.testing.assert_close(found, linear.weights(x), rtol=0, atol=1e-12)


def test_attention_sees_what_experts_answer_and_the_linear_gate_does_not():
    pool = torch.randn(7, 1, 3, 4, dtype=torch.float64)
    seen = {}
    for kind in ("softmax", "attention"):
        torch.manual_seed(3)
        gate = make_gate(kind, WIDTHS, groups=2, pool=3, width=4).double()
        seen[kind] = [
            watch({"it": gate}, lambda gate=gate, p=p: gate(_blocks(7), p))["it"]
            for p in (pool, 2 * pool)
        ]
    assert torch.equal(*seen["softmax"])
    assert not torch.allclose(*seen["attention"])


def test_watching_tells_the_weights_that_were_mixed_by_and_then_lets_go():
    gate, pool = _attention(), torch.randn(7, 1, 3, 4, dtype=torch.float64)
    out = []
    seen = watch({"level 1": gate}, lambda: out.append(gate(_blocks(7), pool)))
    torch.testing.assert_close(mix(seen["level 1"], pool), out[0], rtol=0, atol=1e-12)
    assert not seen["level 1"].requires_grad
    assert not gate.softmax._forward_hooks
