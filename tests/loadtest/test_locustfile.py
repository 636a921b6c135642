"""The locust scenario loads, and draws every size from the demo package."""

import subprocess
import sys
from pathlib import Path


def test_locust_finds_the_engine(clone: Path) -> None:
    # In a process of its own: importing locust patches sockets and threads.
    locust = Path(sys.executable).with_name("locust")
    done = subprocess.run(
        [locust, "-f", "loadtest/locustfile.py", "--list"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Engine" in done.stdout


def test_requests_of_the_demo_cover_every_size_and_form(clone: Path) -> None:
    code = """
from pathlib import Path
from loadtest.locustfile import SIZES, draw_requests
from loadtest.drawn_requests import FORMS
drawn = draw_requests("demo", Path("models/demo/1"))
assert {(r.form, r.candidates) for r in drawn} == {(f, n) for f in FORMS for n in SIZES}
assert all(b'"scene":"demo"' in r.body for r in drawn)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
