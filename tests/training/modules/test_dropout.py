"""training/modules/dropout.py against PyTorch's own."""

import pytest
import torch

from training.modules.dropout import Dropout


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_an_element_is_dropped_with_probability_p_and_the_others_keep_the_mean(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(1000, 1001))
    values = dropped.unique().tolist()
    assert values == [0, pytest.approx(1 / (1 - p), rel=2e-4)]
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.002)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    # No element knows its neighbour's fate, though four share a random word.
    both = ((dropped[:, 1:] == 0) & (dropped[:, :-1] == 0)).float().mean().item()
    assert both == pytest.approx(p * p, abs=0.003)


def test_the_gradient_takes_the_same_mask() -> None:
    x = torch.randn(64, 33, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)
    torch.testing.assert_close(out, x.grad * x)


def test_the_seed_decides_the_mask_and_serving_has_none() -> None:
    x, dropout = torch.ones(50, 3), Dropout(0.5)
    torch.manual_seed(7)
    first = dropout(x)
    second = dropout(x)
    torch.manual_seed(7)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert dropout.eval()(x) is x
    assert Dropout(0.0)(x) is x
