"""The client of `request_profile`, in a process of its own: whatever it uses is not the service's.

Reads from its input how many requests to send, one after the other, and answers with a line of
JSON: the `Server-Timing` of each. `python -m loadtest.request_client PORT FORM CANDIDATES`.
"""

import asyncio
import json
import sys
from typing import Any

from loadtest.catalogue import Catalogue
from loadtest.http_client import Connection, Target
from loadtest.traffic import FORMS, make_bodies

_BODIES = 64
_PATIENT = {"X-Request-Timeout-Ms": "5000"}


async def serve(port: int, form: Any, candidates: int) -> None:
    """Answer the lines of standard input until it ends."""
    target = Target(port)
    bodies = make_bodies(Catalogue(), form, candidates, count=_BODIES, seed=1)
    requests = [target.request(body.content, _PATIENT) for body in bodies]
    connection, sent = await Connection.open(target), 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        timings = []
        for _ in range(int(line)):
            reply = await connection.send(requests[sent % _BODIES])
            sent += 1
            if reply.status != 200 or b'"degraded":[]' not in reply.body[:1000]:
                raise SystemExit(f"not a full answer: {reply.status} {reply.body[:300]!r}")
            timings.append(reply.headers["server-timing"])
        sys.stdout.write(json.dumps(timings) + "\n")
        sys.stdout.flush()
    connection.close()


if __name__ == "__main__":
    assert sys.argv[2] in FORMS, f"{sys.argv[2]!r} is none of {FORMS}"
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
