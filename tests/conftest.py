"""What every test starts from: no settings of the shell, no time limits in hypothesis."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Consoles take their width when they are imported; worker processes of pytest have narrow ones.
os.environ["COLUMNS"] = "200"

# A slow machine is not a failure; the runner's own timeout catches what hangs.
settings.register_profile(
    "finerank", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("finerank")

for name in [name for name in os.environ if name.startswith("FINERANK_")]:
    if name != "FINERANK_TEST_DATA":
        del os.environ[name]


@pytest.fixture(scope="session")
def clone() -> Path:
    """The root of the clone."""
    return Path(__file__).parents[1]
