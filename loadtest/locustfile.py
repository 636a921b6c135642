"""Locust scenario: an engine posts /rank with 50 to 500 candidates; times are listed by size.

A closed loop: a user waits for its answer before it asks again, so a slow service is asked less
often. For latency under a fixed arrival rate use the open-loop driver beside this file.
"""

from pathlib import Path
from random import Random
from typing import Any, ClassVar

from locust import FastHttpUser, constant_pacing, events, task

from loadtest.drawn_requests import FORMS, DrawnRequest, RequestDrawer
from service.contract.manifest import read_manifest

# A feed asks for a few hundred, now and then for more: candidates -> weight.
SIZES = {50: 1, 100: 2, 200: 3, 300: 3, 500: 1}
EACH = 20  # different requests of each size and form, made before the clock starts


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--scene", default="demo", help="scene to rank in")
    parser.add_argument(
        "--package", default="models/demo/1", help="package whose schema the requests follow"
    )
    parser.add_argument(
        "--timeout-ms", type=float, default=40.0, help="deadline sent with every request"
    )


def draw_requests(scene: str, package: Path, *, seed: int = 1) -> list[DrawnRequest]:
    """Every size and form, `EACH` times the size's weight."""
    drawer = RequestDrawer(scene, read_manifest(package).schema_, seed=seed)
    return [
        drawer.request(form, candidates)
        for candidates, weight in SIZES.items()
        for form in FORMS
        for _ in range(EACH * weight)
    ]


@events.test_start.add_listener
def _prepare(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    Engine.requests = draw_requests(options.scene, Path(options.package))
    Engine.headers = {
        "content-type": "application/json",
        "x-request-timeout-ms": f"{options.timeout_ms:g}",
    }


class Engine(FastHttpUser):
    wait_time = constant_pacing(0.1)  # ten requests a second and user, while answers come in time
    requests: ClassVar[list[DrawnRequest]]  # set when a test starts
    headers: ClassVar[dict[str, str]]

    def on_start(self) -> None:
        """Give each user its own order of requests."""
        self._choose = Random(id(self))

    @task
    def rank(self) -> None:
        """Post one request; an answer that is short or degraded counts as a failure."""
        request = self._choose.choice(self.requests)
        name = f"/rank {request.form} {request.candidates}"
        with self.client.post(
            "/rank", data=request.body, headers=self.headers, name=name, catch_response=True
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            reply = response.json()
            if len(reply["ids"]) != request.candidates:
                response.failure(f"{len(reply['ids'])} of {request.candidates} candidates ranked")
            elif reply["degraded"]:
                # Giving something up is quick: counted as success it would flatter the times.
                response.failure(f"degraded: {', '.join(reply['degraded'])}")
