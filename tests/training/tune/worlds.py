"""Logs whose best formula is known, and plans with a formula to tune."""

import json

import numpy as np
import polars as pl


def generated(lists=800, size=12, a=1.2, b=0.4, seed=0):
    """Predictions of lists whose `buy` has the odds of ctr^a * vtr^b: the best order is by that.

    `long` is likelier the longer the video is, whatever the heads say.
    """
    random = np.random.default_rng(seed)
    rows = lists * size
    ctr, vtr = random.uniform(0.02, 0.98, (2, rows))
    odds = 3 * ctr**a * vtr**b
    length = random.uniform(5, 60, rows)
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "ctr": ctr.astype(np.float32),
            "vtr": vtr.astype(np.float32),
            "user_id": [f"u{i // size // 2}" for i in range(rows)],
            "item_id": [f"i{i}" for i in range(rows)],
            "day": np.repeat(20260100 + np.arange(lists) % 2, size).astype(np.int32),
            "label.buy": (random.random(rows) < odds / (1 + odds)).astype(np.float32),
            "label.long": (random.random(rows) < length / 70).astype(np.float32),
            "item.videolen_s": length.astype(np.float32),
            "context.hour": np.repeat(random.integers(0, 24, lists), size).astype(np.float32),
        }
    )


def plan_file(directory, score="ctr^a * vtr^b", params=None, **formulas):
    params = params or {
        "a": {"value": 1.0, "min": 0, "max": 2},
        "b": {"value": 1.0, "min": 0, "max": 2},
    }
    document = {
        "format": 1,
        "scene": "feed",
        "model": "tiny@champion",
        "formulas": {"base": {"score": score, "params": params}, **formulas},
        "default": {"formula": "base"},
    }
    path = directory / "plan.json"
    path.write_text(json.dumps(document))
    return path
