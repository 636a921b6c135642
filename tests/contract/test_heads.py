"""Heads refuse what has no meaning."""

import pytest
from pydantic import ValidationError

from service.contract.heads import Head


def test_a_range_must_not_be_empty() -> None:
    with pytest.raises(ValidationError, match=r"head ctr: range \(1.0, 0.0\) is empty"):
        Head(name="ctr", meaning="", sample_space="impression", kind="binary", range=(1, 0))


def test_a_product_needs_two_factors() -> None:
    with pytest.raises(ValidationError, match="head ctcvr: a product has at least two factors"):
        Head(name="ctcvr", meaning="", sample_space="impression", kind="binary", product=("ctr",))
