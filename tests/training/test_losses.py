"""Loss identities in float64 (PLE eq. 9-10, ESMM eq. 3)."""

import math

import pytest
import torch

from training.losses import (
    binary,
    doubly_robust,
    inverse_propensity,
    log1mexp,
    over_space,
    product,
    rising,
    squared,
)


def _rows(n, seed=0):
    random = torch.Generator().manual_seed(seed)
    logit = torch.randn(n, generator=random, dtype=torch.float64)
    label = (torch.rand(n, generator=random) < 0.4).double()
    space = torch.rand(n, generator=random) < 0.6
    return logit, label, space


@pytest.mark.parametrize("loss", [binary, squared])
def test_the_loss_over_a_space_is_the_mean_over_its_rows_bit_for_bit(loss):
    logit, label, space = _rows(100)
    assert over_space(loss, [logit], label, space) == loss(logit[space], label[space]).mean()


def test_rows_outside_the_space_change_neither_loss_nor_gradient():
    logit, label, space = _rows(100)
    few = logit[space].clone().requires_grad_()
    all_rows = logit.clone().requires_grad_()
    noise = torch.where(space, label, torch.nan)
    short = over_space(binary, [few], label[space], torch.ones(len(few), dtype=torch.bool))
    long = over_space(binary, [all_rows], noise, space)
    short.backward()
    long.backward()
    assert short == long
    assert torch.equal(all_rows.grad[space], few.grad)
    assert torch.equal(all_rows.grad[~space], torch.zeros_like(all_rows.grad[~space]))


def test_an_empty_space_is_zero_with_zero_gradients_not_nan():
    logit = torch.randn(5, dtype=torch.float64, requires_grad=True)
    nobody = torch.zeros(5, dtype=torch.bool)
    for loss, logits in ((binary, [logit]), (product, [logit, 2 * logit])):
        value = over_space(loss, logits, torch.full((5,), torch.nan), nobody)
        (gradient,) = torch.autograd.grad(value, logit)
        assert value == 0
        assert torch.equal(gradient, torch.zeros(5, dtype=torch.float64))


def test_the_order_of_rows_does_not_matter():
    logit, label, space = _rows(64)
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    once = over_space(binary, [logit], label, space)
    again = over_space(binary, [logit[shuffled]], label[shuffled], space[shuffled])
    assert once == pytest.approx(again.item(), abs=1e-14)


def test_esmm_gradients_are_the_closed_form():
    """dL/da = (p - y) + (c - t)(1 - p)/(1 - c), dL/db = (c - t)(1 - r)/(1 - c)."""
    random = torch.Generator().manual_seed(3)
    a, b = (2 * torch.randn(200, generator=random, dtype=torch.float64) for _ in range(2))
    click = (torch.rand(200, generator=random) < 0.5).double()
    both = click * (torch.rand(200, generator=random) < 0.5).double()
    a.requires_grad_(), b.requires_grad_()
    (binary(a, click) + product([a, b], both)).sum().backward()
    p, r = torch.sigmoid(a.detach()), torch.sigmoid(b.detach())
    c = p * r
    for_ctr = (p - click) + (c - both) * (1 - p) / (1 - c)
    for_cvr = (c - both) * (1 - r) / (1 - c)
    torch.testing.assert_close(a.grad, for_ctr, rtol=0, atol=1e-9)
    torch.testing.assert_close(b.grad, for_cvr, rtol=0, atol=1e-9)
    assert (b.grad[click == 0] > 0).all(), "un-clicked rows push the conversion tower down"


def test_the_product_loss_stays_finite_where_probabilities_round_to_certainty():
    for logit in (-80.0, 0.0, 80.0):
        for label in (0.0, 1.0):
            a = torch.tensor([logit], requires_grad=True)
            loss = product([a, torch.tensor([logit])], torch.tensor([label]))
            loss.sum().backward()
            assert torch.isfinite(loss).all()
            assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("x", [-1e-6, -1e-3, -0.5, -0.7, -5.0, -40.0])
def test_log1mexp_is_exact_at_both_ends(x):
    exact = math.log(-math.expm1(x))
    assert log1mexp(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(exact, rel=1e-12)


def _propensity_cell(q=0.2, n=5000):
    """One cell: errors e, imputations ê, and masks that together observe every row a share q."""
    random = torch.Generator().manual_seed(5)
    error = torch.rand(n, generator=random, dtype=torch.float64)
    imputed = torch.rand(n, generator=random, dtype=torch.float64)
    blocks = torch.arange(n) % round(1 / q)  # the mean over blocks is the expectation over clicks
    masks = [blocks == block for block in range(round(1 / q))]
    return error, imputed, masks, torch.full((n,), q, dtype=torch.float64)


def test_ips_and_dr_have_the_mean_of_the_error_over_all_rows_when_the_propensity_is_right():
    error, imputed, masks, q = _propensity_cell()
    ips = [inverse_propensity(error, observed, q).mean() for observed in masks]
    dr = [doubly_robust(error, imputed, observed, q)[0].mean() for observed in masks]
    assert torch.stack(ips).mean().item() == pytest.approx(error.mean().item(), abs=1e-12)
    assert torch.stack(dr).mean().item() == pytest.approx(error.mean().item(), abs=1e-12)


def test_dr_needs_only_one_of_propensity_and_imputation_to_be_right():
    error, _, masks, q = _propensity_cell()
    wrong = q / 3
    dr = [doubly_robust(error, error, observed, wrong)[0].mean() for observed in masks]
    ips = [inverse_propensity(error, observed, wrong).mean() for observed in masks]
    assert torch.stack(dr).mean().item() == pytest.approx(error.mean().item(), abs=1e-12)
    assert torch.stack(ips).mean().item() == pytest.approx(3 * error.mean().item(), abs=1e-12)


def test_dr_teaches_the_logit_as_ips_does_and_the_imputation_alone_by_its_own_loss():
    error, imputed, masks, q = _propensity_cell(n=50)
    error.requires_grad_(), imputed.requires_grad_()
    observed = masks[0]
    robust, imputing = doubly_robust(error, imputed, observed, q)
    (of_dr,) = torch.autograd.grad(robust.sum(), error, retain_graph=True)
    (of_ips,) = torch.autograd.grad(inverse_propensity(error, observed, q).sum(), error)
    assert torch.equal(of_dr, of_ips)
    assert torch.autograd.grad(imputing.sum(), error, allow_unused=True) == (None,)
    expected = torch.where(observed, (error - imputed) ** 2 / q, 0)
    torch.testing.assert_close(doubly_robust(error, imputed, observed, q)[1], expected)


def test_the_calibrator_is_zero_with_zero_gradient_where_probabilities_fall_along_the_chain():
    falling = torch.tensor([[0.9, 0.5], [0.5, 0.5], [0.1, 0.2]], dtype=torch.float64)
    chain = [row.clone().requires_grad_() for row in falling]
    loss = rising(chain)
    loss.backward()
    assert loss == 0
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in chain)


def test_the_calibrator_is_the_mean_rise_and_pushes_both_ends_together():
    earlier = torch.tensor([0.2, 0.6], dtype=torch.float64, requires_grad=True)
    later = torch.tensor([0.5, 0.1], dtype=torch.float64, requires_grad=True)
    loss = rising([earlier, later])
    loss.backward()
    assert loss.item() == pytest.approx(0.3 / 2)
    assert earlier.grad.tolist() == [-0.5, 0]
    assert later.grad.tolist() == [0.5, 0]
