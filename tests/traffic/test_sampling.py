import pytest

from service.traffic.sampling import Sample


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_ids_is_taken(share):
    taken = sum(map(Sample(share).takes, (f"request-{n}" for n in range(20_000))))
    assert taken == pytest.approx(share * 20_000, abs=4 * (20_000 * share * (1 - share)) ** 0.5)


def test_a_larger_share_takes_whom_a_smaller_one_took():
    ids = [f"r{n}" for n in range(2000)]
    assert set(filter(Sample(0.1).takes, ids)) <= set(filter(Sample(0.4).takes, ids))


def test_who_is_taken_never_changes():
    assert [n for n in range(30) if Sample(0.2).takes(f"r{n}")] == [1, 5, 9, 19, 21, 25, 29]
