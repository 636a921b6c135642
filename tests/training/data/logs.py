"""Logs on disk: KuaiRand's official layout with random content, and where the real one lies."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

USER_COLUMNS = (
    *("user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author"),
    *(f"{n}_user_num{r}" for n in ("follow", "fans", "friend") for r in ("", "_range")),
    *("register_days", "register_days_range"),
)
IS = ("click", "like", "follow", "comment", "forward", "hate")
DAYS = (20220428, 20220429, 20220430, 20220501, 20220502)


def write_kuairand(directory: Path, *, rows: int = 400, users: int = 12, videos: int = 9) -> Path:
    """A log of KuaiRand's columns: few users and videos, so that every pair has history."""
    rng = np.random.default_rng(7)
    data = directory / "data"
    data.mkdir(parents=True)
    day = np.sort(rng.choice(DAYS, rows))
    hour = rng.integers(0, 24, rows)
    video = rng.integers(0, videos, rows)
    lasts = np.where(video == 0, 0, 5_000 * (video + 1))
    play = rng.integers(0, 60_000, rows)
    flags = {name: rng.integers(0, 2, rows) for name in ("long_view", *(f"is_{n}" for n in IS))}
    log = pl.DataFrame(
        {
            "user_id": rng.integers(0, users, rows),
            "video_id": video,
            "date": day,
            "hourmin": hour * 100,
            "time_ms": 1_650_000_000_000 + np.arange(rows) * 1_000,
            **flags,
            "play_time_ms": play,
            "duration_ms": lasts,
            "profile_stay_time": 0,
            "comment_stay_time": 0,
            "is_profile_enter": rng.integers(0, 2, rows),
            "is_rand": 0,
            "tab": rng.integers(0, 3, rows),
        }
    )
    log.write_csv(data / "log_standard_4_28_to_5_02_pure.csv")
    write_sides(data, users, videos)
    return directory


def write_sides(data: Path, users: int, videos: int) -> None:
    ids = np.arange(users)
    pl.DataFrame(
        {
            "user_id": ids,
            **dict.fromkeys(USER_COLUMNS, ids % 3),
            "is_live_streamer": np.where(ids % 2, -124, 1),
            **{f"onehot_feat{n}": (ids % (n + 2)).astype(float) for n in range(18)},
        }
    ).with_columns(
        onehot_feat4=pl.when(pl.col("user_id") > 2).then(pl.col("onehot_feat4"))
    ).write_csv(data / "user_features_pure.csv")
    ids = np.arange(videos)
    pl.DataFrame(
        {
            "video_id": ids,
            "author_id": ids // 2 + 1_000,
            "video_type": "NORMAL",
            "upload_dt": "2022-04-20",
            "upload_type": np.where(ids % 2, "Web", "UNKNOWN"),
            "visible_status": 0.0,
            "video_duration": [None if n == 0 else 5_000.0 * (n + 1) for n in range(videos)],
            "server_width": 720.0,
            "server_height": 1280.0,
            "music_id": ids,
            "music_type": 9.0,
            "tag": [
                None if n == 1 else ",".join(str(t) for t in range(n % 4)) for n in range(videos)
            ],
        }
    ).write_csv(data / "video_features_basic_pure.csv")


def real_kuairand() -> Path:
    """The real log's directory; skips where there is none."""
    given = os.environ.get("FINERANK_TEST_DATA")
    root = Path(given) if given else Path(__file__).parents[4] / "shared" / "data"
    directory = root / "KuaiRand-Pure"
    if not directory.is_dir():
        pytest.skip(f"no KuaiRand-Pure in {root} (set FINERANK_TEST_DATA)")
    return directory
