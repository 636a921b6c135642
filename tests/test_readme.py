"""The README is run: its marked blocks against a really started server, its tree against the files.

A console block after the line `<!-- runs -->` is run: each `$ ` line by sh, in the order of the
page, and what follows it must be what is printed. Replies are compared as JSON, numbers up to
what the page rounds them by; times and made-up ids may be anything. Other output is compared word
for word, `…` standing for any words; a command whose output starts with `error` has to fail.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BIN = Path(sys.executable).parent
ADDRESS = "localhost:8000"  # as the README writes it
ANYTHING = {"took_ms", "request_id"}


@dataclass(frozen=True)
class Command:
    """One command of the page and what it must print."""

    line: int
    text: str
    printed: str


def complete(command: str) -> bool:
    """Whether sh would run this, and not wait for a closing quote or another line."""
    if command.endswith("\\"):
        return False
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def commands(page: str) -> list[Command]:
    """The commands of all marked blocks, in order."""
    found = []
    for block in re.finditer(
        r"<!-- runs -->\n```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    ):
        first = page[: block.start(1)].count("\n") + 1
        lines = list(enumerate(block[1].splitlines(), start=first))
        exported = ""  # holds until the end of its block
        while lines:
            number, text = lines.pop(0)
            text = text.removeprefix("$ ")
            while not complete(text):
                text += "\n" + lines.pop(0)[1]
            if text.startswith("export "):
                exported += f"{text}\n"
                continue
            printed = []
            while lines and not lines[0][1].startswith("$ "):
                printed.append(lines.pop(0)[1])
            found.append(Command(number, exported + text, "\n".join(printed)))
    return found


def prints(actual: str, expected: str) -> bool:
    """Equal word for word, `…` in the expected text standing for any words."""
    pattern = r"\s+".join(
        ".*" if word == "…" else re.escape(word) for word in expected.replace("…", " … ").split()
    )
    return re.fullmatch(rf"\s*{pattern}\s*", actual, re.DOTALL) is not None


def same(actual: Any, expected: Any) -> bool:
    """Equal as JSON, numbers up to 1e-3 of their size, volatile keys aside."""
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and list(actual) == list(expected)
            and all(key in ANYTHING or same(actual[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(expected)
            and all(same(a, e) for a, e in zip(actual, expected, strict=True))
        )
    if isinstance(expected, float):
        return bool(actual == pytest.approx(expected, rel=1e-3, abs=1e-6))
    return bool(actual == expected)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=1) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def server(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `./run` starts, on a free port with a state directory of its own; its environment."""
    address = f"127.0.0.1:{free_port()}"
    state = tmp_path_factory.mktemp("state")
    environment = os.environ | {
        "FINERANK_STATE_DIR": str(state),
        "FINERANK_URL": f"http://{address}",
        "FINERANK_FEATURE_TIMEOUT_MS": "10000",  # the page shows answers, not a busy machine's
        "COLUMNS": "100",
    }
    log = (state / "serve.log").open("wb")
    process = subprocess.Popen(
        [BIN / "finerank", "serve", "--demo", "--port", address.rpartition(":")[2]],
        cwd=clone,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        while process.poll() is None and not is_ready(address):
            time.sleep(0.05)
        assert process.poll() is None, (state / "serve.log").read_text()
        yield environment | {"ADDRESS": address}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        log.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: what one writes, the next may read."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's requests are curl commands")
@pytest.mark.parametrize("command", commands(README), ids=lambda command: f"line {command.line}")
def test_a_command_prints_what_the_readme_says(
    command: Command, server: dict[str, str], folder: Path
) -> None:
    text = command.text.replace(ADDRESS, server["ADDRESS"]).replace(".venv/bin/", f"{BIN}/")
    text = text.replace(".finerank/", f"{server['FINERANK_STATE_DIR']}/")
    # A deadline that a busy machine keeps, too.
    text = text.replace("/rank -d", "/rank -H 'x-request-timeout-ms: 5000' -d")
    done = subprocess.run(
        ["sh", "-c", text], cwd=folder, env=server, capture_output=True, text=True, check=False
    )
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) == command.printed.startswith("error"), printed
    if command.printed.startswith("{"):
        assert same(json.loads(done.stdout), json.loads(command.printed)), printed
    else:
        assert prints(printed, command.printed), printed


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what it ignores")
def test_what_the_pages_commands_leave_is_ignored_and_the_demo_is_not(clone: Path) -> None:
    left = ["models/demo/2/model.onnx", "models/other/1/model.onnx", "logs/1.jsonl"]
    kept = ["models/demo/1/model.onnx", "models/demo/plan.json"]
    rules = (clone / ".gitignore").read_text()
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / ".gitignore").write_text(rules)
        subprocess.run(["git", "init", "-q", place], check=True)
        ask = ["git", "-C", place, "check-ignore", *left, *kept]
        done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == left


def test_the_first_screen_ranks() -> None:
    first_screen = "\n".join(README.splitlines()[:40])
    assert "./run" in first_screen
    assert "./test" in first_screen
    assert "/rank" in commands(first_screen)[0].text


def tree_paths(page: str) -> list[str]:
    """The paths of the page's file tree, from the indentation of its lines."""
    block = re.search(r"^```\n(\./\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert block is not None
    parents: list[str] = []
    paths = []
    for line in block[1].splitlines()[1:]:
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        names = re.split(r"\s{2,}", line.strip())[0].split()
        del parents[depth:]
        paths += ["".join(parents) + name for name in names]
        if names[0].endswith("/"):
            parents.append(names[0])
    return paths


def test_every_line_of_the_file_tree_exists(clone: Path) -> None:
    assert [path for path in tree_paths(README) if not (clone / path).exists()] == []


def test_the_file_tree_leaves_no_room_out(clone: Path) -> None:
    listed = set(tree_paths(README))
    packages = [
        *(clone / "service").rglob("__init__.py"),
        *(clone / "training").rglob("__init__.py"),
    ]
    rooms = {f"{package.parent.relative_to(clone)}/" for package in packages}
    assert rooms <= listed
