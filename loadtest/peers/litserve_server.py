"""The same work in LitServe: one worker process a core, no batching (a request already is a batch).

`python -m loadtest.peers.litserve_server --package DIR --port N --workers N --threads N`
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import litserve

from loadtest.peers.work import Work


class RankAPI(litserve.LitAPI):
    def __init__(self, package: Path, threads: int) -> None:
        super().__init__(api_path="/rank")
        self._package, self._threads = package, threads

    def setup(self, device: str) -> None:
        self._work = Work(self._package, threads=self._threads)

    def decode_request(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return request

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        rows = self._work.rank(request["user"], request["items"])
        return {"request_id": request["request_id"], "items": rows}

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    server = litserve.LitServer(
        RankAPI(options.package, options.threads),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=30,
    )
    server.run(
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
