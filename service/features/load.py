"""Load user or item records into the feature store, pipelined, with a progress bar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from service.contract.features import FeatureSchema
from service.features.errors import LoadError
from service.features.item_updates import CHANNEL, change_message
from service.features.record_files import BadRow, Row, open_records
from service.features.refused import refused_values
from service.features.store import Kind, record_key

BATCH = 1000
_SHOWN_PROBLEMS = 20


@dataclass
class LoadReport:
    """What a load did. `problems`: the first refused rows, each a sentence with file and line."""

    written: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)

    def refuse(self, why: str) -> None:
        self.refused += 1
        if len(self.problems) < _SHOWN_PROBLEMS:
            self.problems.append(why)


def load_file(
    url: str,
    scene: str,
    kind: Kind,
    path: Path,
    *,
    id_column: str = "id",
    schema: FeatureSchema | None = None,
    console: Console | None = None,
) -> LoadReport:
    """Write every record of a file under `finerank:f:<scene>:<kind>:<id>`, replacing what is there.

    A row that is no record is refused and counted, the others are written. With a `schema`, so is
    a row with a value that its feature cannot take.

    Raises:
        LoadError: the file cannot be read, or the store does not answer.
    """
    records = open_records(path, id_column)
    report = LoadReport()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[rows]:,} records"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
    with Redis.from_url(url, socket_timeout=10.0) as redis, bar:
        task = bar.add_task(path.name, total=records.total, rows=0)
        rows = records.rows()
        while batch := list(islice(rows, BATCH)):
            good = _checked(batch, kind, schema, report)
            try:
                report.written += _write(redis, scene, kind, good, report)
            except RedisError as err:
                raise LoadError(
                    f"{path}: the store failed after {report.written} records: {err}"
                ) from err
            bar.update(task, completed=batch[-1].position, rows=report.written)
    return report


def _checked(
    batch: Sequence[Row | BadRow], kind: Kind, schema: FeatureSchema | None, report: LoadReport
) -> list[Row]:
    for row in batch:
        if isinstance(row, BadRow):
            report.refuse(row.why)
    rows = [row for row in batch if isinstance(row, Row)]
    wrong = dict(_misfits(rows, kind, schema)) if schema is not None else {}
    for at in sorted(wrong):
        report.refuse(wrong[at])
    return [row for at, row in enumerate(rows) if at not in wrong]


def _misfits(rows: list[Row], kind: Kind, schema: FeatureSchema) -> Iterator[tuple[int, str]]:
    for name in sorted(schema.raw_names[kind]):
        column = [row.values.get(name) for row in rows]
        for at, found in refused_values(schema, kind, name, column).items():
            shown = repr(found.cause.value)[:80]
            yield at, f"{rows[at].place}: feature {name!r}: {shown} {found.cause.rule}"


def _write(redis: Redis, scene: str, kind: Kind, rows: list[Row], report: LoadReport) -> int:
    pipeline = redis.pipeline(transaction=False)
    for row in rows:
        try:
            record = orjson.dumps(row.values)
        except TypeError as err:
            report.refuse(f"{row.place}: {err}")
            continue
        pipeline.set(record_key(scene, kind, row.id), record)
    written = len(pipeline)
    if kind == "item" and written:
        pipeline.publish(CHANNEL, change_message(scene, [row.id for row in rows]))
    pipeline.execute()
    return written
