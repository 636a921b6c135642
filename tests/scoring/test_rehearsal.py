"""The last requests of each scene."""

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
