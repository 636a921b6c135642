"""The serving log as a Redis stream, for whoever wants requests within a second.

`finerank:{scene}:log`, one field `json` an entry; about `length` entries are kept.
"""

from collections.abc import Sequence

import structlog
from redis import Redis
from redis.exceptions import RedisError

from service.traffic.record import Entry, Ranked, to_json

log = structlog.get_logger("finerank.traffic")

_LEFT_OUT = {"all_user", "all_context"}


def stream_key(scene: str) -> str:
    return f"finerank:{{{scene}}}:log"


class LogStream:
    """Appends on the log's thread; a server that does not answer costs entries, not time.

    `redis` gives up soon and retries nothing.
    """

    def __init__(self, redis: Redis, length: int) -> None:
        self._length = length
        self._redis = redis
        self._answers = True

    def write(self, entries: Sequence[Entry]) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for entry in entries:
                    pipe.xadd(
                        stream_key(entry.ranked.scene),
                        {"json": _json(entry.ranked)},
                        maxlen=self._length,
                        approximate=True,
                    )
                pipe.execute()
        except (RedisError, OSError) as err:
            if self._answers:
                log.warning("log_stream_not_written", reason=f"{type(err).__name__}: {err}")
            self._answers = False
        else:
            self._answers = True


def _json(ranked: Ranked) -> bytes:
    """Scores that are none become null."""
    found = {k: v for k, v in ranked._asdict().items() if k not in _LEFT_OUT}
    return to_json(found)
