from service.traffic.recent import RecentRankings
from tests.traffic.rankings import ranked


def test_the_last_ones_of_each_scene_are_kept():
    recent = RecentRankings(3, 1_000)
    for number in range(5):
        recent.add(ranked(number, 1))
    recent.add(ranked(9, 1, scene="other"))
    assert [r.request_id for r in recent.last("feed", 10)] == ["r2", "r3", "r4"]
    assert [r.request_id for r in recent.last("feed", 2)] == ["r3", "r4"]
    assert [r.request_id for r in recent.last("other", 2)] == ["r9"]
    assert recent.last("unknown", 2) == []


def test_large_requests_are_fewer():
    recent = RecentRankings(10, 100)
    for number, candidates in enumerate((40, 50, 60, 5)):
        recent.add(ranked(number, candidates))
    assert [r.request_id for r in recent.last("feed", 10)] == ["r2", "r3"]  # 60 + 5
    recent.add(ranked(9, 101))
    assert recent.last("feed", 10) == []
