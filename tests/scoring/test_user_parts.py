"""Parts of users are kept by content, within their memory."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.scoring.user_parts import UserParts

_WIDTH = 4


class _Graph:
    """Doubles what it is given; counts how often it ran."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.parts, self.runs = UserParts(_WIDTH, max_bytes), 0

    def part(self, number: float, hour: int = 0) -> NDArray[np.float32]:
        blocks = {
            "user_values": np.full((1, _WIDTH), number, np.float32),
            "context_ids": np.array([[hour]], np.int32),
        }

        def run() -> NDArray[np.float32]:
            self.runs += 1
            return blocks["user_values"] * (2 + hour)

        return self.parts.of(blocks, run)


def test_the_same_values_are_computed_once() -> None:
    graph = _Graph()
    first, again = graph.part(1.5), graph.part(1.5)
    assert again is first
    assert graph.runs == 1
    np.testing.assert_array_equal(first, np.full((1, _WIDTH), 3.0))


def test_every_other_value_has_a_part_of_its_own() -> None:
    graph = _Graph()
    given = [(1.0, 0), (1.0, 1), (0.0, 0), (-0.0, 0), (np.nan, 0)]
    for _ in range(2):
        found = [float(graph.part(*values)[0, 0]) for values in given]
        np.testing.assert_array_equal(found, [2.0, 3.0, 0.0, -0.0, np.nan])
        assert np.signbit(found).tolist() == [False, False, False, True, False]
    assert graph.runs == len(given)


def test_who_asked_last_stays_when_memory_is_full() -> None:
    graph = _Graph(max_bytes=4 * _WIDTH * 4)  # two in each half
    for number in (1, 2, 1, 3, 1, 4, 1, 5):
        graph.part(number)
    assert graph.runs == 5  # 1 was never computed again
    graph.part(2)
    assert graph.runs == 6


def test_no_more_parts_are_held_than_memory_allows() -> None:
    graph = _Graph(max_bytes=10 * _WIDTH * 4)
    for number in range(100):
        graph.part(number)
    assert len(graph.parts._young) + len(graph.parts._old) <= 10


def test_a_kept_part_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        _Graph().part(1.0)[0, 0] = 7


def test_a_model_wider_than_the_memory_keeps_the_last_part() -> None:
    graph = _Graph(max_bytes=1)
    graph.part(1)
    graph.part(1)
    assert graph.runs == 1
