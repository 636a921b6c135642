import csv
import re

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from service.traffic.batch import ItemNames
from service.traffic.errors import TrafficError
from service.traffic.log_files import find_files, read_batches
from service.traffic.outcomes import arms, join, mean_by_cluster, read_outcomes
from service.traffic.shelves import Rotation, Shelves
from service.traffic.worth import worth
from tests.traffic.rankings import Draft, entry, formula, ranked


@pytest.fixture
def log(tmp_path):
    shelves = Shelves(tmp_path / "log", Rotation(1 << 30, 300.0, "here_1"))
    for number in range(400):
        of = ranked(number, 20)
        shelves.add(entry(of._replace(user_id=f"u{number % 97}")))
    shelves.finish()
    return tmp_path / "log"


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_arms_have_the_means_of_their_requests(log, tmp_path):
    random = np.random.default_rng(0)
    clicks = random.integers(0, 3, 400)
    rows = [  # several rows a request, and none for those without a click
        {"request_id": f"r{n}", "click": 1, "play_s": 10.5}
        for n, count in enumerate(clicks)
        for _ in range(count)
    ]
    outcomes = read_outcomes(write_csv(tmp_path / "clicks.csv", rows))
    joined = join(find_files(log, "feed"), outcomes)
    assert joined.matched == (clicks > 0).sum()
    found = {(a.layer, a.arm, a.outcome): a for a in arms(joined)}
    treated = np.array([n % 7 < 3 for n in range(400)])
    treatment = found["fusion", "test/treatment", "click"]
    control = found["fusion", "test/control", "click"]
    assert treatment.mean.value == pytest.approx(clicks[treated].mean())
    assert control.mean.value == pytest.approx(clicks[~treated].mean())
    assert treatment.difference[0] == pytest.approx(
        clicks[treated].mean() - clicks[~treated].mean()
    )
    assert treatment.lift[0] == pytest.approx(clicks[treated].mean() / clicks[~treated].mean() - 1)
    assert control.difference is None
    assert found["fusion", "test/treatment", "play_s"].mean.value == pytest.approx(
        10.5 * clicks[treated].mean()
    )
    plus = found["sign of a", "+", "click"]
    assert plus.mean.value == pytest.approx(clicks[1::2].mean())
    assert plus.difference[0] == pytest.approx(clicks[1::2].mean() - clicks[::2].mean())


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random, held = np.random.default_rng(1), 0
    for _ in range(400):
        users = random.integers(0, 60, 300)
        values = random.normal(0, 1, 60)[users] + random.normal(0.5, 1, 300)
        found = mean_by_cluster(values, [str(u) for u in users])
        held += abs(found.value - 0.5) < found.half_width
    assert 0.91 < held / 400 < 0.98  # treating requests as independent holds it in 70 %


def test_requests_of_one_user_say_nothing_of_the_error():
    assert np.isnan(mean_by_cluster(np.arange(5.0), ["u"] * 5).error)


def test_ids_stay_text(tmp_path):
    rows = [{"request_id": "007", "item_id": "01", "click": True}]
    found = read_outcomes(write_csv(tmp_path / "o.csv", rows))
    assert (found.request, found.item) == (["007"], ["01"])
    assert found.values["click"].tolist() == [1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "r1", "click": 1}, "no column 'request_id'"),
        ({"request_id": "r1", "note": "x"}, "no column of numbers beside the ids"),
        ({"request_id": "r1", "click": 1, "propensity": 0.0}, "a propensity is 0, not in"),
    ],
)
def test_a_file_that_cannot_be_joined_is_a_sentence(tmp_path, row, words):
    with pytest.raises(TrafficError, match=words):
        read_outcomes(write_csv(tmp_path / "o.csv", [row]))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(TrafficError, match=r"outcomes are read from .parquet or .csv"):
        read_outcomes(tmp_path / "o.json")
    with pytest.raises(TrafficError, match="cannot be read"):
        read_outcomes(tmp_path / "o.csv")


def test_a_draft_is_worth_what_its_first_items_brought(log, tmp_path):
    """Every candidate was shown, for certain: the estimate is the plain mean."""
    columns = {"request_id": [], "item_id": [], "click": [], "propensity": []}
    expected = []
    for number in range(400):
        of = ranked(number, 20)
        brought = {id_: float(n % 3) for n, id_ in enumerate(of.ids)}
        columns["request_id"] += [of.request_id] * 20
        columns["item_id"] += of.ids
        columns["click"] += brought.values()
        columns["propensity"] += [1.0] * 20
        best = np.argsort(-of.heads["vcr"], kind="stable")[:5]
        expected += [brought[of.ids[n]] for n in best]
    parquet.write_table(pyarrow.table(columns), tmp_path / "o.parquet")
    names = ItemNames()
    batches = read_batches(find_files(log, "feed"), 1000, names)
    outcomes = read_outcomes(tmp_path / "o.parquet")
    served, draft = worth(batches, names, lambda asked: Draft(formula("vcr")), outcomes, 5)
    assert (served.policy, draft.policy) == ("served", "draft")
    assert draft.snips.value == pytest.approx(np.mean(expected))
    assert draft.doubly_robust.value == pytest.approx(np.mean(expected))


def test_a_file_removed_after_it_was_listed_is_left_out(log):
    (file,) = find_files(log, "feed")
    file.path.unlink()
    assert list(read_batches([file], 1000, ItemNames())) == []


def test_files_removed_after_they_were_listed_are_left_out_and_named(log, tmp_path):
    shelves = Shelves(log, Rotation(1 << 30, 300.0, "here_2"))
    shelves.add(entry(ranked(1000, 20)))
    shelves.finish()
    newest, oldest = find_files(log, "feed")
    oldest.path.unlink()
    outcomes = read_outcomes(write_csv(tmp_path / "c.csv", [{"request_id": "r1000", "click": 1}]))
    joined = join([newest, oldest], outcomes)
    said = f"{oldest.path} was removed while the log was read: its service keeps no more"
    assert (joined.matched, len(joined.totals), joined.gone) == (1, 1, [said])
    with pytest.raises(TrafficError, match="^the log holds no requests; " + re.escape(said) + "$"):
        join([oldest], outcomes)


def test_a_scene_of_which_every_file_is_gone_has_none(tmp_path):
    shelf = tmp_path / "feed" / "m" / "1"
    shelf.mkdir(parents=True)
    (shelf / "requests-1.parquet").symlink_to(shelf / "removed")  # listed, and not there
    with pytest.raises(TrafficError, match="holds no finished log file of scene 'feed'"):
        find_files(tmp_path, "feed")


def test_without_propensities_no_worth_is_claimed(log, tmp_path):
    outcomes = read_outcomes(write_csv(tmp_path / "o.csv", [{"request_id": "r1", "click": 1}]))
    with pytest.raises(TrafficError, match="need the columns item_id and propensity"):
        worth([], ItemNames(), lambda asked: Draft(formula("vcr")), outcomes, 5)
