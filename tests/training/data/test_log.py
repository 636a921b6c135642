"""training/data/log.py."""

import numpy as np

from tests.training.data.test_schema import LOG
from training.data.days import Days


def test_taking_rows_takes_them_from_every_column() -> None:
    two = LOG.take(np.array([2, 0]))
    assert two.rows == 2
    assert two.row.tolist() == [2, 0]
    assert two.columns["item"]["price"].tolist() == [5.0, 1.0]
    assert two.columns["item"]["tags"].tolist() == [["y"], ["x", "y"]]
    assert len(two.labels["click"]) == len(two.spaces["impression"]) == 2


def test_days_choose_rows() -> None:
    assert LOG.of(Days(1, 1)).rows == 4
    assert LOG.of(Days(2, 9)).rows == 0
