"""The file of what something costs: figures, and the machine, versions and commit behind them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.machine import describe_commit, describe_machine, describe_versions


def write_cost(
    out: Path, figures: Mapping[str, Any], *, machine: Mapping[str, Any] | None = None
) -> None:
    """Write `figures`; `machine` as it was before the measurement, else as it is now."""
    document = {
        **figures,
        "machine": machine or describe_machine(),
        "versions": describe_versions(),
        "source": describe_commit(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")


def added_percent(off: Sequence[float], on: Sequence[float]) -> dict[str, float]:
    """What turns with something on took more than turns without it: by medians, and at least."""
    return {
        "added_percent_median": round((median(on) / median(off) - 1) * 100, 2),
        "added_percent_least": round((min(on) / min(off) - 1) * 100, 2),
    }
