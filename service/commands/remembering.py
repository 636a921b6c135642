"""Build from the settings what the service remembers of its requests."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from service.api.remembering import Remembering
from service.experiment.connection import connect_blocking
from service.metrics import Metrics
from service.scoring.item_cache import ItemRecords
from service.settings import Settings
from service.traffic.recent import RecentRankings
from service.traffic.record import ItemNote
from service.traffic.retention import Retention
from service.traffic.sampling import Sample
from service.traffic.serving_log import ServingLog, Sink, open_log
from service.traffic.stream import LogStream

_STREAM_S = 1.0  # the log's thread may wait so long; nobody else does


def remember(settings: Settings, store_url: str, metrics: Metrics) -> Remembering:
    """The recent rankings, and the serving log where the settings want one.

    Raises:
        NoParquet: the log needs pyarrow.
        ValueError: the store's URL cannot be understood.
    """

    def count(result: str, requests: int) -> None:
        metrics.child(metrics.log_requests, result).inc(requests)

    sinks: Sequence[Sink] = ()
    if settings.log_stream:
        sinks = (LogStream(connect_blocking(store_url, timeout_s=_STREAM_S), settings.log_stream),)
    log = None
    if settings.log_dir is not None:
        log = open_log(
            settings.log_dir,
            Sample(settings.log_sample),
            unique=re.sub(r"[^A-Za-z0-9_.]+", "_", settings.replica),
            most_candidates=settings.log_queue,
            rotate_bytes=settings.log_rotate_mb * 1_000_000,
            rotate_s=settings.log_rotate_s,
            count=count,
            sinks=sinks,
            remove_old=_retention(settings, settings.log_dir, metrics),
        )
    elif sinks:
        log = ServingLog(
            None,
            Sample(settings.log_sample),
            most_candidates=settings.log_queue,
            count=count,
            sinks=sinks,
        )
    if log is not None:
        waiting = log
        metrics.log_waiting.set_function(lambda: waiting.waiting)
    recent = RecentRankings(settings.recent_requests, settings.recent_candidates)
    return Remembering(recent, log, settings.log_dir)


def _retention(settings: Settings, directory: Path, metrics: Metrics) -> Callable[[], None] | None:
    if settings.log_keep_days is None and settings.log_keep_mb is None:
        return None

    def removed(why: str, files: int) -> None:
        metrics.log_files_removed.labels(why).inc(files)

    most = None if settings.log_keep_mb is None else settings.log_keep_mb * 1_000_000
    # What a cache learned as a file began was served for its time to live.
    items_s = settings.item_cache_ttl_s + 2 * settings.log_rotate_s
    return Retention(directory, settings.log_keep_days, most, items_s, removed).tidy


def item_listener(remembering: Remembering) -> Callable[[str, ItemRecords], None] | None:
    """What item caches tell of the records they serve; None without a log that keeps them."""
    log = remembering.log
    if log is None or not log.keeps_items:
        return None

    def tell(model: str, records: ItemRecords) -> None:
        log.note(
            ItemNote(
                records.scene,
                model,
                records.ids,
                records.records,
                records.versions,
                records.blocks,
            )
        )

    return tell
