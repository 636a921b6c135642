"""The generated log as a reader sees it, and on disk: the same tables, the same mapping."""

from pathlib import Path

from training.data.columns import with_keys
from training.data.config import (
    ColumnsConfig,
    FeatureColumn,
    LabelColumn,
    SpaceColumn,
    SyntheticConfig,
)
from training.data.history_config import HistoryConfig, Outcome, RateTable, Recent
from training.data.tables import Source, Table, Tables
from training.data.typed import with_ids
from training.data.world import SEPARATOR, World

DURATION_EDGES_S = (10.0, 18.0, 30.0, 60.0)

MAPPING = ColumnsConfig(
    files=("log.csv",),
    user="user_id",
    item="item_id",
    time="time_ms",
    users="users.csv",
    items="items.csv",
    features=(
        FeatureColumn(name="user_id", side="user", kind="categorical"),
        FeatureColumn(name="age_range", side="user", kind="categorical"),
        FeatureColumn(name="gender", side="user", kind="categorical"),
        FeatureColumn(name="city_tier", side="user", kind="categorical"),
        FeatureColumn(name="spending", side="user", kind="numeric"),
        FeatureColumn(
            name="interests", side="user", kind="multi", separator=SEPARATOR, max_length=6
        ),
        FeatureColumn(name="tab", side="context", kind="categorical"),
        FeatureColumn(name="hour", side="context", kind="categorical"),
        FeatureColumn(name="item_id", side="item", kind="categorical"),
        FeatureColumn(name="category", side="item", kind="categorical"),
        FeatureColumn(name="brand", side="item", kind="categorical"),
        FeatureColumn(name="tags", side="item", kind="multi", separator=SEPARATOR, max_length=4),
        FeatureColumn(
            name="duration_bucket",
            column="videolen_s",
            side="item",
            kind="bucket",
            edges=DURATION_EDGES_S,
        ),
        FeatureColumn(name="videolen_s", side="item", kind="numeric", unit="s", attribute=True),
        FeatureColumn(name="price", side="item", kind="numeric", unit="money", attribute=True),
    ),
    labels=(
        LabelColumn(name="click"),
        LabelColumn(name="buy"),
        LabelColumn(name="long_view"),
        LabelColumn(name="vcr", column="completion"),
        LabelColumn(name="like"),
    ),
    spaces=(
        SpaceColumn(name="click", label="click"),
        SpaceColumn(name="play", label="vcr", rule="defined"),
    ),
)

HISTORY = HistoryConfig(
    outcomes=(
        Outcome(label="click", prior=0.4),
        Outcome(label="buy", prior=0.08, strength=20),
        Outcome(label="long_view", prior=0.25),
        Outcome(label="vcr", prior=0.65),
        Outcome(label="like", prior=0.06, strength=20),
    ),
    rates=(
        RateTable(by=("user_id",)),
        RateTable(by=("item_id",)),
        RateTable(by=("brand",), outcomes=("click", "buy")),
        RateTable(by=("user_id", "category"), outcomes=("click", "buy", "like")),
        RateTable(by=("item_id", "tab"), outcomes=("click", "buy")),
    ),
    recent=(Recent(name="recent_clicks", length=10, where="click"),),
)


def load(directory: Path, *, config: SyntheticConfig) -> Tables:
    """The generated tables; nothing is read from the directory."""
    world = World(config)
    log, users, items = world.impressions(), world.users, world.items
    return Tables(
        log=with_keys(Table(Source((("generated log", len(log)),)), log), MAPPING),
        users=with_ids(Table(Source((("generated users", len(users)),)), users), MAPPING.user),
        items=with_ids(Table(Source((("generated items", len(items)),)), items), MAPPING.item),
    )


def write(directory: Path, config: SyntheticConfig) -> None:
    """Write log.csv, users.csv and items.csv, which the columns reader reads with `MAPPING`."""
    world = World(config)
    directory.mkdir(parents=True, exist_ok=True)
    world.impressions().write_csv(directory / "log.csv")
    world.users.write_csv(directory / "users.csv")
    world.items.write_csv(directory / "items.csv")
