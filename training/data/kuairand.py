"""KuaiRand in its official file layout (Gao et al., CIKM 2022): files, columns and history."""

from pathlib import Path

import polars as pl

from training.data.config import ColumnsConfig, FeatureColumn, LabelColumn, SpaceColumn
from training.data.errors import DataError
from training.data.history_config import HistoryConfig, Outcome, RateTable, Recent
from training.data.tables import DAY, ITEM, ORDER, ROW, USER, Table, Tables, read_table
from training.data.typed import days_of, ids_of, numeric, with_ids

MISSING = ("-124", "UNKNOWN")

# KuaiRand's labels change rule at 7 s and 18 s; above, roughly equal shares of the impressions.
DURATION_EDGES_S = (7.0, 10.0, 14.0, 18.0, 25.0, 35.0, 50.0, 70.0, 100.0, 140.0, 200.0, 300.0)

_USER = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{n}" for n in range(18)),
)
_ITEM = ("author_id", "video_type", "upload_type", "music_type")

FEATURES = (
    FeatureColumn(name="user_id", side="user", kind="categorical"),
    *(FeatureColumn(name=n, side="user", kind="categorical", missing=MISSING) for n in _USER),
    FeatureColumn(name="register_days", side="user", kind="numeric", unit="days"),
    FeatureColumn(name="tab", side="context", kind="categorical"),
    FeatureColumn(name="hour", side="context", kind="categorical"),
    FeatureColumn(name="video_id", side="item", kind="categorical"),
    *(FeatureColumn(name=n, side="item", kind="categorical", missing=MISSING) for n in _ITEM),
    FeatureColumn(name="tag", side="item", kind="multi", max_length=4),
    FeatureColumn(
        name="duration_bucket",
        column="video_duration",
        side="item",
        kind="bucket",
        scale=0.001,
        edges=DURATION_EDGES_S,
    ),
    FeatureColumn(
        name="videolen_s",
        column="video_duration",
        side="item",
        kind="numeric",
        scale=0.001,
        unit="s",
        attribute=True,
    ),
    FeatureColumn(name="upload_age_days", column="upload_dt", side="item", kind="age_days"),
)

LABELS = (
    LabelColumn(name="click", column="is_click"),
    LabelColumn(name="long_view"),
    LabelColumn(name="like", column="is_like"),
    LabelColumn(name="follow", column="is_follow"),
    LabelColumn(name="comment", column="is_comment"),
    LabelColumn(name="forward", column="is_forward"),
    LabelColumn(name="profile_enter", column="is_profile_enter"),
    LabelColumn(name="play_3s", column="play_time_ms", at_least=3_000),
    LabelColumn(name="play_7s", column="play_time_ms", at_least=7_000),
    LabelColumn(name="play_18s", column="play_time_ms", at_least=18_000),
    LabelColumn(name="play", column="play_time_ms", at_least=1),
    # Completed share, and loops up to four; undefined where the log has no duration.
    LabelColumn(name="vcr", column="@play_ratio", clip=(0.0, 1.0)),
    LabelColumn(name="play_ratio", column="@play_ratio", clip=(0.0, 4.0)),
    LabelColumn(name="watch_s", column="@watch_s", clip=(0.0, 600.0)),
)

SPACES = (
    SpaceColumn(name="click", label="click"),
    SpaceColumn(name="play", label="play"),
    SpaceColumn(name="timed", label="vcr", rule="defined"),
)

# Means over 2022-04-25 .. 05-03, rounded: constants, so that an unknown key is the same everywhere.
OUTCOMES = (
    Outcome(label="click", prior=0.44, strength=10),
    Outcome(label="long_view", prior=0.31, strength=10),
    Outcome(label="like", prior=0.017, strength=20),
    Outcome(label="follow", prior=0.0013, strength=100),
    Outcome(label="comment", prior=0.0025, strength=50),
    Outcome(label="profile_enter", prior=0.0185, strength=20),
    Outcome(label="vcr", prior=0.3, strength=10),
    Outcome(label="play_ratio", prior=0.34, strength=10),
)

_MAIN = ("click", "long_view", "like", "vcr")

HISTORY = HistoryConfig(
    outcomes=OUTCOMES,
    rates=(
        RateTable(by=("user_id",)),
        RateTable(by=("video_id",)),
        RateTable(by=("author_id",)),
        RateTable(by=("duration_bucket",)),
        RateTable(by=("user_id", "tab"), outcomes=_MAIN),
        RateTable(by=("video_id", "tab"), outcomes=_MAIN),
        RateTable(by=("duration_bucket", "tab"), outcomes=_MAIN),
        RateTable(by=("user_id", "video_id"), outcomes=_MAIN),
        RateTable(by=("user_id", "author_id"), outcomes=_MAIN),
        RateTable(by=("user_id", "tag"), outcomes=_MAIN),
        RateTable(by=("user_id", "duration_bucket"), outcomes=_MAIN),
    ),
    recent=(Recent(name="recent_videos", length=20),),
)

MAPPING = ColumnsConfig(
    user="user_id", item="video_id", features=FEATURES, labels=LABELS, spaces=SPACES
)


def load(directory: Path, *, include_random: bool = False) -> Tables:
    """Read `directory/data/*.csv` or `directory/*.csv`: every standard log, in name order.

    `video_features_statistic_*.csv` is never read: it averages the whole month, future included.

    Raises:
        DataError: a file that is missing or broken.
    """
    folder = directory / "data" if (directory / "data").is_dir() else directory
    patterns = ["log_standard_*.csv", *(["log_random_*.csv"] if include_random else [])]
    logs = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if not logs:
        raise DataError(f"{folder} holds no {' or '.join(patterns)}")
    return Tables(
        log=_log(read_table(logs)),
        users=with_ids(_one(folder, "user_features_*.csv"), "user_id"),
        items=with_ids(_one(folder, "video_features_basic_*.csv"), "video_id"),
    )


def _log(raw: Table) -> Table:
    time = numeric(raw.column("time_ms"), raw.source, "time_ms")
    played = numeric(raw.column("play_time_ms"), raw.source, "play_time_ms")
    lasts = numeric(raw.column("duration_ms"), raw.source, "duration_ms")
    hourmin = numeric(raw.column("hourmin"), raw.source, "hourmin")
    frame = raw.frame.with_row_index(ROW).with_columns(
        pl.col(ROW).cast(pl.Int64),
        days_of(raw.column("date"), raw.source, "date").alias(DAY),
        ids_of(raw, "user_id").alias(USER),
        ids_of(raw, "video_id").alias(ITEM),
        time.cast(pl.Int64).fill_null(0).alias(ORDER),
        (hourmin // 100).cast(pl.Int64).cast(pl.String).alias("hour"),
    )
    ratio = pl.DataFrame({"played": played, "lasts": lasts}).select(
        pl.when(pl.col("lasts") > 0).then(pl.col("played") / pl.col("lasts")).alias("@play_ratio"),
        (pl.col("played") / 1000).alias("@watch_s"),
    )
    return Table(raw.source, frame.hstack(ratio))


def _one(folder: Path, pattern: str) -> Table:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise DataError(f"{folder} must hold one {pattern} (found: {names})")
    return read_table(found)
