"""Target attention: a loop over entries, invariance to order, padding and empty sequences."""

import pytest
import torch

from training.modules.blocks import Blocks, Field, Layout, Listed
from training.modules.target_attention import TargetAttention

DIM, LENGTH = 4, 5
LAYOUT = Layout(
    (
        Field("hour", 1, "user", embedded=False),
        Field("brand", DIM, "item", embedded=True),
        Field("item_id", DIM, "item", embedded=True),
    )
)
EXACT = {"rtol": 0, "atol": 1e-12}
SOFTMAX = pytest.mark.parametrize("softmax", [False, True])


def _attention(softmax):
    torch.manual_seed(1)
    made = TargetAttention(
        LAYOUT, sequence="recent", target="item_id", hidden=6, softmax=softmax, name="interest"
    )
    return made.double()


def _case(rows=3):
    torch.manual_seed(0)
    target = torch.randn(rows, DIM, dtype=torch.float64)
    entries = torch.randn(rows, LENGTH, DIM, dtype=torch.float64)
    present = torch.tensor([[True, True, False, True, False]]).expand(rows, -1)
    return target, Listed(entries, present)


@SOFTMAX
@pytest.mark.parametrize("rows", [1, 3])
def test_interest_is_a_loop_over_the_entries_that_are_there(rows, softmax):
    attention = _attention(softmax)
    target, (entries, present) = _case(rows)
    for row in range(rows):
        seen = [entries[row, j] for j in range(LENGTH) if present[row, j]]
        scores = []
        for entry in seen:
            parts = (target[row], entry, target[row] * entry)
            maps = (attention.of_target, attention.of_entry, attention.of_product)
            hidden = sum(each(part) for each, part in zip(maps, parts, strict=True))
            scores.append(attention.out(attention.bend(hidden)))
        weights = torch.cat(scores)
        weights = torch.softmax(weights, dim=0) if softmax else weights
        expected = sum(weight * entry for weight, entry in zip(weights, seen, strict=True))
        found = attention.interest(target, Listed(entries, present))[row]
        torch.testing.assert_close(found, expected, **EXACT)


@SOFTMAX
def test_order_plays_no_part(softmax):
    attention = _attention(softmax)
    target, (entries, present) = _case()
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = Listed(entries[:, order], present[:, order])
    expected = attention.interest(target, Listed(entries, present))
    torch.testing.assert_close(attention.interest(target, mixed), expected, **EXACT)


@SOFTMAX
def test_padding_plays_no_part_and_gets_no_gradient(softmax):
    attention = _attention(softmax)
    target, (entries, present) = _case()
    before = attention.interest(target, Listed(entries, present))
    other = torch.where(present.unsqueeze(2), entries, 1e6).requires_grad_()
    after = attention.interest(target, Listed(other, present))
    assert torch.equal(after, before)
    after.square().sum().backward()
    assert not other.grad[~present].any()
    assert other.grad[present].any(dim=1).all()
    longer = torch.nn.functional.pad(entries, (0, 0, 0, 3), value=2.0)
    padded = Listed(longer, torch.nn.functional.pad(present, (0, 3)))
    torch.testing.assert_close(attention.interest(target, padded), before, **EXACT)


@SOFTMAX
def test_an_empty_sequence_is_no_interest(softmax):
    target, (entries, _) = _case()
    none = torch.zeros(3, LENGTH, dtype=torch.bool)
    found = _attention(softmax).interest(target, Listed(entries, none))
    assert torch.equal(found, torch.zeros(3, DIM, dtype=torch.float64))


def test_weights_are_not_normalised_unless_configured():
    target, sequence = _case()
    plain = _attention(False).weights(target, sequence).sum(dim=1)
    normalised = _attention(True).weights(target, sequence).sum(dim=1)
    assert not torch.allclose(plain, torch.ones_like(plain))
    torch.testing.assert_close(normalised, torch.ones_like(normalised), **EXACT)


def test_the_target_is_its_columns_of_the_blocks():
    attention = _attention(False)
    target, sequence = _case()
    item = torch.cat([torch.zeros_like(target), target], dim=1)
    x = Blocks(target[:, :1], item, target[:, :0], {"recent": sequence})
    expected = attention.interest(target, sequence)
    torch.testing.assert_close(attention(x).cross, expected, **EXACT)
    assert attention.layout.fields[-1] == Field("interest", DIM, "cross", embedded=True)
