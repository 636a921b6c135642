import json
import subprocess
import sys

import pytest

from service.commands.logs import configure_logs

_SAY = """
import logging, structlog
from service.commands.logs import configure_logs
configure_logs("info")
structlog.get_logger("a").info("plan_live", scene="feed", version=3)
structlog.get_logger("a").debug("hidden")
logging.getLogger("uvicorn.error").warning("from %s", "elsewhere")
logging.getLogger("uvicorn.access").info("hidden")
token = "a secret"
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("a").exception("broken")
"""


def test_every_line_is_one_json_event_whoever_logged_it():
    done = subprocess.run([sys.executable, "-c", _SAY], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    plan, other, broken = (json.loads(line) for line in done.stderr.splitlines())
    assert (plan["event"], plan["scene"], plan["version"]) == ("plan_live", "feed", 3)
    assert (other["event"], other["level"]) == ("from elsewhere", "warning")
    assert broken["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "a secret" not in done.stderr


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="log level 'loud' is none of debug, info, warning, error"):
        configure_logs("loud")
