"""The last requests of each scene, and whether requests come in now."""

from service.scoring.ranking import RankInput
from service.scoring.rehearsal import RecentRequests


def request(number: int, scene: str = "feed") -> RankInput:
    return RankInput(str(number), scene, ["i1"], deadline=float("inf"))


def test_the_last_requests_of_each_scene_are_kept() -> None:
    recent = RecentRequests(kept=2)
    for number in range(3):
        recent.add(request(number))
    recent.add(request(7, "shop"))
    assert [r.request_id for r in recent.of("feed")] == ["1", "2"]
    assert [r.request_id for r in recent.of("shop")] == ["7"]
    assert recent.of("unknown") == ()


def test_it_is_busy_for_a_second_after_a_request() -> None:
    now = 100.0
    recent = RecentRequests(clock=lambda: now)
    assert not recent.is_busy
    recent.add(request(1))
    now = 100.9
    assert recent.is_busy
    now = 101.1
    assert not recent.is_busy
