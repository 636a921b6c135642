"""`finerank replay` on what a real service logged."""

import json
import shutil
from pathlib import Path

import pytest

from tests.api.running import PLAN
from tests.commands.conftest import Command
from tests.traffic.conftest import ask, log_directory, logging, models, stored, valkey

__all__ = ["log_directory", "logging", "models", "stored", "valkey"]


def replay(log: Path, models: Path, *options: str, status: int = 0):
    return Command()("replay", log, "--models", models, *options, status=status)


@pytest.fixture(scope="module")
def log(logging, log_directory) -> Path:
    """A log of requests of every kind, through the item cache and without one."""
    for model in ("cut", "tiny"):
        logging.publish({**PLAN, "model": f"{model}@champion"})
        ask(logging, 40)
        ask(logging, 10, 1, explain=True)
        ask(logging, 10, 2, heads=False, limit=3)
    assert logging.runtime.parts.remembering.log.finish_files(10)
    return log_directory


def test_the_same_packages_give_no_mismatch(log, models):
    done = replay(log, models)
    for model in ("cut/1", "tiny/1"):
        assert f"feed {model}: 60 requests" in done.stdout
    assert done.stdout.count("encodings and heads are the same") == 2
    assert "were not compared" not in done.stderr


def changed(models: Path, to: Path, change) -> Path:
    """The same packages with another manifest in each."""
    shutil.copytree(models, to)
    for path in to.glob("*/1/manifest.json"):
        document = json.loads(path.read_text())
        change({f["name"]: f for f in document["schema"]["features"]})
        path.write_text(json.dumps(document))
    return to


def test_a_changed_vocabulary_entry_is_found_and_named(log, models, tmp_path):
    def rename(features):
        words = features["item_id"]["vocabulary"]
        words[words.index("i50")] = "renamed"  # no golden row has it: the package loads

    done = replay(log, changed(models, tmp_path / "other", rename), status=1)
    assert done.stdout.count("feature item_id: ") == 2
    assert "item i50, raw value 'i50': logged 51, now 0" in done.stdout
    assert done.stdout.count("  feature ") == 2
    assert "head ctr: " in done.stdout


def test_a_package_that_is_refused_is_compared_as_far_as_its_manifest_goes(log, models, tmp_path):
    def rename(features):
        words = features["item_id"]["vocabulary"]
        words[words.index("i20")] = "renamed"

    done = replay(log, changed(models, tmp_path / "other", rename), status=1)
    assert "heads are not compared, the package is refused: cut/1: golden block 'item_ids'" in (
        done.stderr
    )
    assert "raw value 'i20': logged 21, now 0" in done.stdout


def test_a_changed_default_is_found_and_named(log, models, tmp_path):
    def default(features):
        features["videolen_s"]["default"] += 1

    done = replay(log, changed(models, tmp_path / "other", default), status=1)
    assert "feature videolen_s" in done.stdout


def test_only_the_last_requests_are_replayed_when_asked(log, models):
    assert " 7 requests" in replay(log, models, "--last", "7").stdout


def test_a_directory_without_a_log_is_a_sentence(tmp_path, models):
    assert replay(tmp_path, models, status=1).stderr == (
        f"error: {tmp_path} holds no finished file of a serving log; a service with"
        " FINERANK_LOG_DIR writes one, and finishes it every FINERANK_LOG_ROTATE_S and when it"
        " stops\n"
    )
