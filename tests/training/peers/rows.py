"""Encoded rows of the generated log, as a peer is given them."""

from pathlib import Path

from training.config.file import parse_config
from training.dataset import build_dataset
from training.peers.peer import Rows
from training.reading import reader_for


def generated_rows() -> Rows:
    """Three days of clicks and completions, one after the other for train, valid and measured."""
    config = parse_config(
        {
            "data": {"reader": "synthetic", "train": "20260101", "validate": "20260102"},
            "synthetic": {"users": 20, "items": 30, "days": 3, "impressions_per_day": 400},
            "model": {"trunk": {"kind": "shared-bottom", "hidden": [4]}, "log1p": ["price"]},
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "vcr", "label": "vcr", "space": "play", "kind": "regression"},
                {"name": "stays", "label": "long_view", "beside": "ctr"},
            ],
        },
        name="rows",
        source="tests",
    )
    reader = reader_for(config)
    log = reader.read(Path())
    days = sorted(set(log.day.tolist()))
    parts = [log.take((log.day == day).nonzero()[0]) for day in days]
    schema = reader.features(parts[0])
    return Rows(config, schema, *(build_dataset(schema, config.tasks, part) for part in parts))
