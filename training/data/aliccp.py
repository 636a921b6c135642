r"""Ali-CCP in its official layout (Ma et al., SIGIR 2018): skeletons and the features they share.

`sample_skeleton_{train,test}.csv` has a row an impression: sample id, click, conversion, index of
the common features, number of features, features. `common_features_{train,test}.csv` has what a
user's impressions share: index, number of features, features. Neither has a header. Features are
separated by \x01, and each is field \x02 id \x03 value.

Left out: the values (weights of ids, a logarithm of counts), and fields 508, 509, 702 and 853,
which pair a user's history with an item and say what the ids of both say already.
"""

from pathlib import Path

import polars as pl

from training.data.config import ColumnsConfig, FeatureColumn, LabelColumn, SpaceColumn
from training.data.errors import BadCell, DataError
from training.data.published_split import days_of_parts
from training.data.tables import DAY, ITEM, ORDER, ROW, USER, Source, Table, Tables

_SKELETON = ("sample_id", "click", "conversion", "common", "count", "features")
_COMMON = ("common", "count", "features")
_ENTRY, _FIELD, _VALUE = "\x01", "\x02", "\x03"

_USER = {
    "101": "user_id",
    "121": "profile_category",
    "122": "profile_group",
    "124": "gender",
    "125": "age",
    "126": "consumption_1",
    "127": "consumption_2",
    "128": "occupation",
    "129": "geography",
}
_HISTORY = {
    "109_14": "past_categories",
    "110_14": "past_shops",
    "127_14": "past_brands",
    "150_14": "past_intentions",
}
_ITEM = {"205": "item_id", "206": "category", "207": "shop", "216": "brand"}
_LISTS = {"210": "intentions"}
_CONTEXT = {"301": "position"}

FEATURES = (
    *(FeatureColumn(name=n, column=f, side="user", kind="categorical") for f, n in _USER.items()),
    *(
        FeatureColumn(name=n, column=f, side="user", kind="multi", max_length=20)
        for f, n in _HISTORY.items()
    ),
    *(FeatureColumn(name=n, column=f, side="item", kind="categorical") for f, n in _ITEM.items()),
    *(
        FeatureColumn(name=n, column=f, side="item", kind="multi", max_length=8)
        for f, n in _LISTS.items()
    ),
    *(
        FeatureColumn(name=n, column=f, side="context", kind="categorical")
        for f, n in _CONTEXT.items()
    ),
)

LABELS = (
    LabelColumn(name="click", equals="1", otherwise=("0",)),
    LabelColumn(name="conversion", equals="1", otherwise=("0",)),
)

MAPPING = ColumnsConfig(
    user="101",
    item="205",
    features=FEATURES,
    labels=LABELS,
    spaces=(SpaceColumn(name="click", label="click"),),
)


def load(directory: Path) -> Tables:
    """Read both parts: train is day 1, test is halved into days 2 and 3.

    Both labels of a conversion without a click are undefined: such rows are errors of the log.

    Raises:
        DataError: a file that is missing or broken, a row whose features are not as many as it
            says, or whose common features are not there.
    """
    parts = [_part(directory, part) for part in ("train", "test")]
    frame = pl.concat([part.frame for part in parts], how="diagonal")
    source = Source(tuple(file for part in parts for file in part.source.files))
    trained, tested = (len(part.frame) for part in parts)
    rows = pl.int_range(len(frame), dtype=pl.Int64, eager=True)
    impossible = (pl.col("click") == "0") & (pl.col("conversion") == "1")
    labels = [
        pl.when(~impossible).then(pl.col(name)).alias(name) for name in ("click", "conversion")
    ]
    keyed = frame.with_columns(
        *labels,
        rows.alias(ROW),
        days_of_parts(trained, tested).alias(DAY),
        pl.col("101").alias(USER),
        pl.col("205").alias(ITEM),
        rows.alias(ORDER),
    )
    return Tables(log=Table(source, keyed))


def _part(directory: Path, part: str) -> Table:
    skeleton = _read(directory / f"sample_skeleton_{part}.csv", _SKELETON)
    common = _read(directory / f"common_features_{part}.csv", _COMMON)
    shared = _fields(common, {**_USER, **_HISTORY}).with_columns(common.frame["common"])
    own = _fields(skeleton, {**_ITEM, **_LISTS, **_CONTEXT})
    log = skeleton.frame.select("click", "conversion", "common").hstack(own)
    known = log["common"].is_in(shared["common"].implode())
    _refuse(skeleton, ~known, "common", f"is not in {common.source}")
    joined = log.join(shared, on="common", how="left", maintain_order="left")
    for field in ("101", "205"):
        _refuse(skeleton, joined[field].is_null(), "features", f"has no feature of field {field}")
    return Table(skeleton.source, joined.drop("common"))


def _read(path: Path, columns: tuple[str, ...]) -> Table:
    try:
        frame = pl.read_csv(
            path,
            has_header=False,
            new_columns=list(columns),
            infer_schema=False,
            glob=False,
            quote_char=None,
        )
    except FileNotFoundError as err:
        raise DataError(f"{path} does not exist") from err
    except (pl.exceptions.PolarsError, OSError) as err:
        raise DataError(f"{path} cannot be read: {str(err).splitlines()[0]}") from err
    table = Table(Source(((path.name, len(frame)),)), frame)
    if frame.columns != list(columns):
        raise DataError(f"{path} has {len(frame.columns)} columns, not {len(columns)}")
    return table


def _fields(table: Table, wanted: dict[str, str]) -> pl.DataFrame:
    """The ids of the wanted fields, a column a field: text, or a list of text for the lists."""
    entries = table.frame["features"].str.split(_ENTRY)
    differs = entries.list.len().cast(pl.String) != table.frame["count"]
    _refuse(table, differs, "count", "is not the number of features that follow")
    single = table.frame.select(pl.int_range(pl.len()).alias("@at"))
    each = single.hstack([entries.alias("entry")]).explode("entry")
    parts = each["entry"].str.split_exact(_FIELD, 1).struct.rename_fields(["field", "rest"])
    each = each.hstack(parts.struct.unnest()).with_columns(
        pl.col("rest").str.split_exact(_VALUE, 1).struct.field("field_0").alias("id")
    )
    broken = each.filter(pl.col("rest").is_null() | ~pl.col("rest").str.contains(_VALUE))
    if len(broken):
        at = int(broken["@at"][0])
        file, row = table.source.place(at)
        rule = "is no feature: field \\x02 id \\x03 value is"
        raise BadCell(file, "features", row, broken["entry"][0], rule)
    columns = []
    for field in wanted:
        of_field = each.filter(pl.col("field") == field)
        ids = of_field.group_by("@at", maintain_order=True).agg(pl.col("id").alias(field))
        if field not in _HISTORY and field not in _LISTS:
            ids = ids.with_columns(pl.col(field).list.first())
        columns.append(single.join(ids, on="@at", how="left", maintain_order="left")[field])
    return pl.DataFrame(columns)


def _refuse(table: Table, wrong: pl.Series, column: str, rule: str) -> None:
    wrong = wrong.fill_null(value=True)
    if wrong.any():
        at = int(wrong.arg_max() or 0)
        file, row = table.source.place(at)
        raise BadCell(file, column, row, table.frame[column][at], rule)
