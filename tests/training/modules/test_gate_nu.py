"""GateNU: factors of 1 before training, and a gradient for the prior features alone."""

import pytest
import torch

from training.modules.blocks import Blocks, Field, Layout
from training.modules.gate_nu import GateNU

LAYOUT = Layout(
    (
        Field("user_id", 3, "user", embedded=True),
        Field("tab", 2, "user", embedded=True),
        Field("item_id", 3, "item", embedded=True),
    )
)


def _gate(*, moved):
    torch.manual_seed(0)
    gate = GateNU(LAYOUT, ["tab"], hidden=5, groups=2, width_out=4).double()
    if moved:
        for parameter in gate.parameters():
            torch.nn.init.normal_(parameter)
    return gate


def _blocks(rows=6, **options):
    torch.manual_seed(1)
    parts = (torch.randn(rows, w, dtype=torch.float64, **options) for w in LAYOUT.widths)
    return Blocks(*parts)


def test_every_factor_is_one_before_training():
    assert torch.equal(_gate(moved=False)(_blocks()), torch.ones(6, 2, 4, dtype=torch.float64))


@pytest.mark.parametrize("rows", [1, 6])
def test_factors_are_the_papers_equation(rows):
    gate, x = _gate(moved=True), _blocks(rows)
    for g in range(2):
        of_prior = gate.prior.weight.unflatten(1, (2, 5))[:, g]
        of_rest = gate.rest.weight.unflatten(1, (2, 5))[:, g]
        weight = torch.cat([of_prior, of_rest])
        z = torch.cat([x.user[:, 3:], x.whole], dim=1)  # prior, everything
        hidden = torch.relu(z @ weight + gate.rest.bias.unflatten(0, (2, 5))[g])
        expected = 2 * torch.sigmoid(hidden @ gate.out.weight[g] + gate.out.bias[g])
        torch.testing.assert_close(gate(x)[:, g], expected, rtol=0, atol=1e-12)


def test_factors_lie_between_zero_and_two():
    factors = _gate(moved=True)(_blocks(200))
    assert 0 < factors.min() < 0.5
    assert 1.5 < factors.max() < 2


def test_only_prior_features_get_a_gradient_though_all_of_them_decide():
    gate, x = _gate(moved=True), _blocks(requires_grad=True)
    before = gate(x)
    before.square().sum().backward()
    assert not x.item.grad.any()
    assert not x.user.grad[:, :3].any()
    assert x.user.grad[:, 3:].any(dim=1).all()
    other = Blocks(x.user, x.item + 1, x.cross)
    assert not torch.equal(gate(other), before)
