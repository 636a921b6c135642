"""Find the files of a serving log and read its requests, the newest first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as arrow
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from service.traffic.batch import SIZE, Asked, Batch, ItemNames, served_orders
from service.traffic.errors import FileGone, TrafficError
from service.traffic.layout import ATTRIBUTE, FORMAT, HEAD, METADATA, REQUESTS

_COLUMNS = (
    *("request_id", "at", "user_id", "user", "context", "asked", "user_record", "scored"),
    *("plan", "categories", "ids", "order", "scores"),
)


@dataclass(frozen=True)
class LogFile:
    """A finished file. `about`: scene and model of its rows."""

    path: Path
    rows: int
    about: dict[str, Any]


def scenes_of(root: Path) -> list[str]:
    """Scenes of a log.

    Raises:
        TrafficError: there are none.
    """
    scenes = _scenes(root)
    if not scenes:
        raise TrafficError(
            f"{root} holds no finished file of a serving log; a service with FINERANK_LOG_DIR"
            " writes one, and finishes it every FINERANK_LOG_ROTATE_S and when it stops"
        )
    return scenes


def find_files(root: Path, scene: str) -> list[LogFile]:
    """The files of a scene, newest first.

    Raises:
        TrafficError: there are none, or one is not ours.
    """
    found = (root / scene).glob(f"*/*/{REQUESTS}-*.parquet")
    paths = sorted(found, key=lambda path: path.name, reverse=True)
    files = [file for path in paths if (file := _open(path)) is not None]
    if not files:
        known = ", ".join(_scenes(root)) or "none"
        raise TrafficError(
            f"{root} holds no finished log file of scene {scene!r} (scenes: {known})"
        )
    return files


def open_file(path: Path) -> parquet.ParquetFile:
    """A file that was listed.

    Raises:
        FileGone: it has been removed since.
    """
    try:
        return parquet.ParquetFile(path)
    except FileNotFoundError as err:
        raise FileGone(path) from err


def read_batches(files: list[LogFile], last: int, names: ItemNames) -> Iterator[Batch]:
    """Batches of the last requests, as many as `last`; those without scores are left out."""
    for file in files:
        if last <= 0:
            return
        try:
            reader = open_file(file.path)
        except FileGone:
            continue
        skip = max(file.rows - last, 0)
        last -= file.rows - skip
        wanted = [
            name
            for name in reader.schema_arrow.names
            if name in _COLUMNS or name.startswith((HEAD, ATTRIBUTE))
        ]
        for rows in reader.iter_batches(SIZE, columns=wanted):
            if skip >= len(rows):
                skip -= len(rows)
                continue
            batch = _batch(rows.slice(skip), file.about["model"], names)
            skip = 0
            if batch.asked:
                yield batch


def _scenes(root: Path) -> list[str]:
    return sorted({path.parents[2].name for path in root.glob(f"*/*/*/{REQUESTS}-*.parquet")})


def _open(path: Path) -> LogFile | None:
    """None where the file is gone: its service keeps so much and no more."""
    try:
        found = parquet.read_metadata(path)
        about = orjson.loads((found.metadata or {})[METADATA])
    except FileNotFoundError:
        return None
    except (arrow.ArrowException, OSError, KeyError, ValueError) as err:
        raise TrafficError(f"{path} is no file of a serving log: {err}") from err
    if about["format"] != FORMAT:
        raise TrafficError(f"{path} has format {about['format']}; this reads {FORMAT}")
    return LogFile(path, found.num_rows, about)


def _batch(rows: arrow.RecordBatch, model: str, names: ItemNames) -> Batch:
    scored = rows.column("scored").to_numpy()
    rows = rows.filter(arrow.array(scored > 0))
    counts = scored[scored > 0].astype(np.int64)
    candidates = rows.column("ids").value_lengths().to_numpy()
    # scored are the first of a request
    starts = np.repeat(np.cumsum(candidates) - candidates, candidates)
    kept = np.arange(len(starts)) - starts < np.repeat(counts, candidates)
    scores = _flat(rows, "scores")
    served = _served(rows, scores, candidates, counts)
    return Batch(
        model=model,
        asked=_asked(rows),
        counts=counts,
        items=_items(rows.column("ids").flatten(), names)[kept],
        scores=scores[kept],
        heads=_columns(rows, HEAD),
        attributes=_columns(rows, ATTRIBUTE),
        served=served,
    )


def _asked(rows: arrow.RecordBatch) -> list[Asked]:
    names = ("request_id", "user_id", "user", "context", "asked", "user_record", "plan")
    columns = [rows.column(name).to_pylist() for name in names]
    categories: list[str | None] = [None] * len(rows)
    if "categories" in rows.schema.names:  # older logs lack it
        categories = rows.column("categories").to_pylist()
    times = rows.column("at").cast(arrow.int64()).to_numpy() / 1000
    return [
        Asked(
            request_id=request_id,
            at_s=at_s,
            user_id=user_id,
            user=orjson.loads(user),
            context=orjson.loads(context),
            asked=orjson.loads(asked),
            stored=record,
            plan=plan,
            categories={} if text is None else _arrays(orjson.loads(text)),
        )
        for at_s, text, (request_id, user_id, user, context, asked, record, plan) in zip(
            times.tolist(), categories, zip(*columns, strict=True), strict=True
        )
    ]


def _arrays(columns: dict[str, list[int]]) -> dict[str, NDArray[np.integer]]:
    return {name: np.array(values, np.int32) for name, values in columns.items()}


def _items(ids: arrow.Array, names: ItemNames) -> NDArray[np.int64]:
    """Numbers of ids, each different one looked up once."""
    if not len(ids):
        return np.zeros(0, np.int64)
    encoded = ids.dictionary_encode()
    different = names.numbers(encoded.dictionary.to_pylist())
    return np.asarray(different[encoded.indices.to_numpy()])


def _columns(rows: arrow.RecordBatch, prefix: str) -> dict[str, NDArray[Any]]:
    names = [name for name in rows.schema.names if name.startswith(prefix)]
    return {name.removeprefix(prefix): _flat(rows, name) for name in names}


def _flat(rows: arrow.RecordBatch, name: str) -> NDArray[Any]:
    values: NDArray[Any] = rows.column(name).flatten().to_numpy(zero_copy_only=False)
    return values


def _served(
    rows: arrow.RecordBatch,
    scores: NDArray[np.float64],
    candidates: NDArray[Any],
    counts: NDArray[np.int64],
) -> dict[int, NDArray[np.intp]]:
    orders, lengths = _flat(rows, "order"), rows.column("order").value_lengths().to_numpy()
    first_score, first = np.cumsum(candidates) - candidates, np.cumsum(lengths) - lengths
    limits = zip(
        first_score.tolist(), counts.tolist(), first.tolist(), lengths.tolist(), strict=True
    )
    return served_orders(
        (scores[at : at + n], orders[of : of + k].astype(np.intp)) for at, n, of, k in limits
    )
