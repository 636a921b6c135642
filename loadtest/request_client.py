"""The client of `request_profile`, in a process of its own: whatever it uses is not the service's.

Reads from its input how many requests to send, one after the other, and answers with a line of
JSON: the `Server-Timing` of each. `python -m loadtest.request_client PORT FORM CANDIDATES`.
"""

import json
import sys
from typing import Any

from loadtest.catalogue import Catalogue
from loadtest.connections import Connections
from loadtest.http_client import Reply, Target
from loadtest.traffic import FORMS, make_bodies

_BODIES = 64
_PATIENT = {"X-Request-Timeout-Ms": "5000"}
_LOOK_S = 60.0


def serve(port: int, form: Any, candidates: int) -> None:
    """Answer the lines of standard input until it ends."""
    target = Target(port)
    bodies = make_bodies(Catalogue(), form, candidates, count=_BODIES, seed=1)
    requests = [target.request(body.content, _PATIENT) for body in bodies]
    sent = 0
    with Connections(target, 1) as connections:
        for line in sys.stdin:
            timings = []
            for _ in range(int(line)):
                reply = _ask(connections, requests[sent % _BODIES])
                sent += 1
                if reply.status != 200 or b'"degraded":[]' not in reply.body:
                    raise SystemExit(f"not a full answer: {reply.status} {reply.body[:300]!r}")
                timings.append(reply.header("server-timing"))
            sys.stdout.write(json.dumps(timings) + "\n")
            sys.stdout.flush()


def _ask(connections: Connections, request: bytes) -> Reply:
    if connections.send(0, request):
        while not (found := list(connections.wait(_LOOK_S))):
            pass
        if reply := found[0][1]:
            return reply
    raise SystemExit("the server closed the connection")


if __name__ == "__main__":
    assert sys.argv[2] in FORMS, f"{sys.argv[2]!r} is none of {FORMS}"
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
