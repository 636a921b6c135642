"""What the bench measures, each as a generator of runs: compare, curve, overload, growth."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from loadtest.catalogue import Catalogue
from loadtest.contenders import Contender, Place, ask, serving
from loadtest.measuring import (
    CAPACITY_CONNECTIONS,
    NO_HURRY_MS,
    PROMISED_MS,
    Pace,
    Run,
    in_closed_loop,
    in_open_loop,
    warm_up,
)
from loadtest.open_loop import Arrivals
from loadtest.processes import pinned
from loadtest.traffic import MIXED, NEW_VALUES, Form, make_bodies

_BODIES = 48
_NEW_BODIES = 600  # of values that shall not come again soon
_DRAWN = 200  # requests of one measurement of growth: few of its items come twice
_OFF = {
    "": 1e-4,
    "int8": 0.02,
}  # by variant: how far, relatively, a score may be from the exact one


class Disagreement(Exception):
    """Two servers scored one request differently: their figures cannot be compared."""


class NoCapacity(Exception):
    """A server gave no full answer: there is no load to offer a share of."""


def compare(
    place: Place,
    contenders: Sequence[Contender],
    pace: Pace,
    *,
    candidates: int = 500,
    connections: Sequence[int] = (1, CAPACITY_CONNECTIONS),
) -> Iterator[Run]:
    """Closed-loop throughput of each contender, a fresh process each round, in rotating order."""
    catalogue = Catalogue()
    bodies = {
        form: make_bodies(
            catalogue,
            form,
            candidates,
            count=_NEW_BODIES if form in NEW_VALUES else _BODIES,
            seed=pace.seed,
        )
        for form in {form for one in contenders for form in one.forms}
    }
    truth: dict[str, float] | None = None
    for number in range(1, pace.rounds + 1):
        at = (number - 1) % len(contenders)
        for contender in [*contenders[at:], *contenders[:at]]:
            with serving(contender, place, bodies[contender.forms[0]][0]) as (server, target):
                for form in contender.forms:
                    if form not in NEW_VALUES:
                        found = scores(ask(target, bodies[form][0]))
                        if not contender.variant:
                            truth = truth or found
                        name = f"{contender.name} ({form})"
                        check_agreement(name, found, truth or found, contender.variant)
                    warm_up(target, bodies[form], pace)
                    for count in connections:
                        yield _what(
                            "closed", number, contender.name, form, candidates
                        ) | in_closed_loop(server, target, bodies[form], pace, connections=count)


def curve(
    place: Place,
    contender: Contender,
    pace: Pace,
    *,
    form: Form = "ids",
    sizes: Sequence[int] = (100, 300, 500, 1_000),
    loads: Sequence[float] = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0),
    mixed: bool = True,
    deadline_ms: float = NO_HURRY_MS,
    arrivals: Arrivals = "poisson",
) -> Iterator[Run]:
    """Open-loop latency against offered load, a share of the round's own capacity.

    For each number of candidates and, with `mixed`, for the mix of `traffic.MIXED`. Capacity is
    always measured without a deadline.
    """
    whats: list[int | Mapping[int, float]] = [*sizes, *([MIXED] if mixed else [])]
    bodies = [make_bodies(Catalogue(), form, what, count=_BODIES, seed=pace.seed) for what in whats]
    for number in range(1, pace.rounds + 1):
        with serving(contender, place, bodies[0][0]) as (server, target):
            for what, some in zip(whats, bodies, strict=True):
                size = what if isinstance(what, int) else "mixed"
                warm_up(target, some, pace)
                capacity = in_closed_loop(
                    server, target, some, pace, connections=CAPACITY_CONNECTIONS
                )
                yield _what("closed", number, contender.name, form, size) | capacity
                for load in loads:
                    rate = load * _per_s(contender, capacity)
                    yield (
                        _what("open", number, contender.name, form, size)
                        | {"load": load}
                        | in_open_loop(
                            server,
                            target,
                            some,
                            pace,
                            rate=rate,
                            seed=number,
                            deadline_ms=deadline_ms,
                            arrivals=arrivals,
                        )
                    )


def overload(
    place: Place,
    contender: Contender,
    pace: Pace,
    *,
    form: Form = "ids",
    candidates: int = 500,
    loads: Sequence[float] = (1.0, 2.0, 4.0),
    deadline_ms: float = PROMISED_MS,
) -> Iterator[Run]:
    """Goodput beyond capacity, generator and server on a core each; so is capacity measured."""
    server_core, own_core = _two_cores()
    bodies = make_bodies(Catalogue(), form, candidates, count=_BODIES, seed=pace.seed)
    for number in range(1, pace.rounds + 1):
        with (
            pinned(own_core),
            serving(contender, place, bodies[0], cores=server_core) as (server, target),
        ):
            warm_up(target, bodies, pace)
            capacity = in_closed_loop(
                server, target, bodies, pace, connections=CAPACITY_CONNECTIONS
            )
            yield _what("closed", number, contender.name, form, candidates) | capacity
            for load in loads:
                yield (
                    _what("open", number, contender.name, form, candidates)
                    | {"load": load}
                    | in_open_loop(
                        server,
                        target,
                        bodies,
                        pace,
                        rate=load * _per_s(contender, capacity),
                        seed=number,
                        deadline_ms=deadline_ms,
                        connections=256,
                    )
                )


def growth_round(
    place: Place,
    contender: Contender,
    pace: Pace,
    *,
    number: int,
    variant: str,
    catalogue: Catalogue,
    sizes: Sequence[int],
    form: Form = "ids",
) -> Iterator[Run]:
    """Time of one request at a time against its candidates, for one variant of the bench model.

    What is measured are other requests than those of the warm-up: a catalogue that exceeds the
    item cache would else be measured on the items it just cached.
    """
    bodies = [make_bodies(catalogue, form, n, count=2 * _DRAWN, seed=number) for n in sizes]
    with serving(contender, place, bodies[0][0]) as (server, target):
        for size, some in zip(sizes, bodies, strict=True):
            warm_up(target, some[:_DRAWN], pace)
            yield (
                _what("closed", number, contender.name, form, size)
                | {"variant": variant}
                | in_closed_loop(server, target, some[_DRAWN:], pace, connections=1)
            )


def scores(reply: Mapping[str, Any]) -> dict[str, float]:
    """Candidate id -> score, from either form of reply."""
    if "items" in reply:
        pairs = [(item["id"], item["score"]) for item in reply["items"]]
    else:
        pairs = list(zip(reply["ids"], reply["scores"], strict=True))
    return {id_: float("nan") if score is None else score for id_, score in pairs}


def check_agreement(
    who: str, found: Mapping[str, float], truth: Mapping[str, float], variant: str = ""
) -> None:
    """Raise Disagreement unless both score the same candidates alike (1e-4 of the score)."""
    if found.keys() != truth.keys():
        raise Disagreement(f"{who} ranked {len(found)} candidates, the first server {len(truth)}")
    for id_, score in truth.items():
        if not np.isclose(found[id_], score, rtol=_OFF[variant], atol=0):
            raise Disagreement(f"{who} scores {id_} {found[id_]!r}, the first server {score!r}")


def _what(loop: str, number: int, contender: str, form: str, candidates: int | str) -> Run:
    return {
        "loop": loop,
        "round": number,
        "contender": contender,
        "form": form,
        "candidates": candidates,
    }


def _per_s(contender: Contender, capacity: Run) -> float:
    if not capacity["full_per_s"]:
        raise NoCapacity(
            f"{contender.name} gave no full answer: statuses {capacity['statuses']},"
            f" degraded {capacity['degraded']}"
        )
    return float(capacity["full_per_s"])


def _two_cores() -> tuple[frozenset[int], frozenset[int]]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("overload needs two cores: one for the server, one for the generator")
    return frozenset(cores[:1]), frozenset(cores[1:2])
