"""training/data/history_config.py."""

import pytest
from pydantic import ValidationError

from training.data.history_config import HistoryConfig, RateTable


def test_history_rates_need_their_outcomes_declared() -> None:
    with pytest.raises(ValidationError, match=r"history by u x i wants click, which .* lacks"):
        HistoryConfig(rates=(RateTable(by=("u", "i"), outcomes=("click",)),))
