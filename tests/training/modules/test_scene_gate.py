"""EPNet: the same input before training, scaled columns after, gradients as in the paper."""

import torch

from tests.training.modules.test_gate_nu import LAYOUT, _blocks
from training.modules.scene_gate import SceneGate


def _gate(*, moved):
    torch.manual_seed(0)
    gate = SceneGate(LAYOUT, scene=["tab"], hidden=5).double()
    if moved:
        for parameter in gate.parameters():
            torch.nn.init.normal_(parameter)
    return gate


def test_nothing_is_scaled_before_training():
    x, out = _blocks(), _gate(moved=False)(_blocks())
    for name in ("user", "item", "cross", "whole"):
        assert torch.equal(getattr(out, name), getattr(x, name))


def test_every_column_is_scaled_by_its_own_factor():
    gate, x = _gate(moved=True), _blocks()
    factors = gate.gate(x).squeeze(1)
    torch.testing.assert_close(gate(x).whole / x.whole, factors, rtol=0, atol=1e-12)
    assert gate.layout == LAYOUT


def test_other_features_get_their_gradient_through_the_product_alone():
    gate, x = _gate(moved=True), _blocks(requires_grad=True)
    gate(x).item.sum().backward()
    factors = gate.gate(x).squeeze(1)
    torch.testing.assert_close(x.item.grad, factors[:, 5:], rtol=0, atol=1e-12)
    assert not x.user.grad[:, :3].any()
    assert x.user.grad[:, 3:].any()
