"""Rules and candidates for hypothesis."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from service.rerank.rules import Given


@dataclass(frozen=True)
class Decay:
    by: str = "author"
    factor: float = 0.5
    floor: float = 0.0


@dataclass(frozen=True)
class Cap:
    by: str = "author"
    most: int = 1
    window: int = 3


@dataclass(frozen=True)
class Fresh:
    by: str = "age"
    below: float = 1.0
    least: int = 2
    first: int = 5


@dataclass(frozen=True)
class Mmr:
    by: str | tuple[str, ...] = "tag"
    weight: float = 0.5
    first: int = 10


@dataclass(frozen=True)
class Rules:
    decay: tuple[Decay, ...] = ()
    mmr: Mmr | None = None
    caps: tuple[Cap, ...] = ()
    fresh: Fresh | None = None
    pins: Mapping[str, int] = field(default_factory=dict)
    places: int = 100


def given(scores, *, invalid=0, **columns) -> Given:
    """Candidates "0", "1", … of these scores, then `invalid` ones without; columns by name."""
    rows = len(scores) + invalid
    values = np.array([*scores, *[np.nan] * invalid])
    order = np.argsort(-values, kind="stable")
    filled = {n: np.array([*c, *[0] * (rows - len(c))]) for n, c in columns.items()}
    categories = {n: filled[n].astype(np.int64) for n in filled if n in ("author", "tag")}
    attributes = {n: filled[n].astype(float) for n in filled if n not in ("author", "tag")}
    ids = [str(n) for n in range(rows)]
    return Given(ids, order, len(scores), values, categories, attributes)


@st.composite
def cases(draw) -> tuple[Rules, Given]:
    rows = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))  # drawing columns takes hypothesis long
    found = given(
        rng.uniform(-5, 5, rows).round(draw(st.integers(0, 3))),
        invalid=draw(st.integers(0, 3)),
        author=rng.integers(0, draw(st.integers(1, 13)), rows),
        tag=rng.integers(0, 5, rows),
        age=rng.uniform(0, 4, rows),
        e0=rng.uniform(-1, 1, rows),
        e1=rng.uniform(-1, 1, rows),
    )
    by = st.sampled_from(("author", "tag"))
    caps = st.builds(Cap, by, st.integers(1, 3), st.integers(2, 12)).filter(
        lambda cap: cap.most <= cap.window
    )
    places = st.dictionaries(
        st.sampled_from([*found.ids, "absent"]), st.integers(1, 45), max_size=4
    )
    rules = st.builds(
        Rules,
        st.lists(st.builds(Decay, by, st.floats(0, 1), st.floats(0, 1)), max_size=2).map(tuple),
        st.none() | st.builds(Mmr, by | st.just(("e0", "e1")), st.floats(0, 1), st.integers(1, 50)),
        st.lists(caps, max_size=3).map(tuple),
        st.none()
        | st.builds(Fresh, st.just("age"), st.floats(0, 4), st.integers(1, 9), st.integers(9, 20)),
        places.filter(lambda pins: len(set(pins.values())) == len(pins)),
        st.sampled_from((20, 45, 100)),
    )
    return draw(rules), found
