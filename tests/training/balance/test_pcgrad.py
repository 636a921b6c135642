"""PCGrad's projections."""

import torch

from tests.training.balance.losses import Net, objective
from training.balance.fixed import Fixed
from training.balance.pcgrad import PCGrad, surgery


def _order():
    return torch.Generator().manual_seed(0)


def test_gradients_without_conflict_just_add_up():
    gradients = torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64)
    assert torch.equal(surgery(gradients, _order()), gradients.sum(0))


def test_of_two_in_conflict_each_loses_its_part_against_the_other():
    a, b = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([-3.0, 1.0]).double()
    a_left = a - (a @ b) / (b @ b) * b
    b_left = b - (b @ a) / (a @ a) * a
    torch.testing.assert_close(a_left @ b, torch.tensor(0.0).double(), atol=1e-15, rtol=0)
    torch.testing.assert_close(surgery(torch.stack([a, b]), _order()), a_left + b_left)


def test_three_are_projected_one_after_another_on_the_gradients_as_they_came():
    gradients = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients[1] -= 2 * gradients[0]
    order, drawn = _order(), _order()
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(3):
        left = gradients[i].clone()
        for j in torch.randperm(3, generator=drawn).tolist():
            if j != i and left @ gradients[j] < 0:
                left -= left @ gradients[j] / gradients[j].dot(gradients[j]) * gradients[j]
        total += left
    torch.testing.assert_close(surgery(gradients, order), total, atol=1e-13, rtol=0)


def test_what_only_one_task_reaches_is_left_alone_and_shortens_no_projection():
    shared = torch.tensor([[1.0, 1.0], [-3.0, 1.0]], dtype=torch.float64)
    own = torch.tensor([[7.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    found = surgery(torch.cat([shared, own], dim=1), _order())
    torch.testing.assert_close(found[:2], surgery(shared, _order()))
    assert found[2:].tolist() == [7.0, 5.0]


def test_without_conflict_the_step_is_that_of_fixed_weights():
    directions = [[1.0, 0.0], [1.0, 1.0], [0.5, 2.0]]
    projected, summed, minimised = Net(directions), Net(directions), objective()
    PCGrad(minimised, projected).backward(projected.losses(minimised.names), 0)
    Fixed(minimised).backward(summed.losses(minimised.names), 0)
    for name, parameter in projected.named_parameters():
        expected = dict(summed.named_parameters())[name].grad
        expected = torch.zeros_like(parameter) if expected is None else expected
        torch.testing.assert_close(parameter.grad, expected)
