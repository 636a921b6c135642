"""Files of the log: what is written is what is read, whole files only, rotation, errors."""

import os
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from service.features.versions import record_version
from service.traffic.batch import ItemNames, stack
from service.traffic.errors import FileGone
from service.traffic.log_files import find_files, read_batches, scenes_of
from service.traffic.logged import Items, read_logged
from service.traffic.parquet_file import open_new
from service.traffic.preview import Preview
from service.traffic.record import ItemNote
from service.traffic.shelves import GROUP_S, Rotation, Shelves
from tests.clock import Clock
from tests.traffic.rankings import Draft, entry, formula, ranked


def shelves(root, **changes):
    settings = {"bytes": 1 << 30, "seconds": 300.0, "unique": "here_1"}
    return Shelves(root, Rotation(**{**settings, **changes}))


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        yield from leaves(dict(enumerate(value)), path)
    else:
        yield path, value


def files(root):
    return sorted(path.name.split("-")[0] + path.suffix for path in root.rglob("*.parquet*"))


def test_a_preview_of_the_files_is_that_of_the_memory(tmp_path):
    rankings = [ranked(n, 1 + n % 40, "ctr + vcr") for n in range(300)]
    late = ranked(400, 30)
    tail = ["late1", "late2"]
    rankings[7] = late._replace(
        ids=[*late.ids, *tail],
        scores=np.concatenate([late.scores, [np.nan, np.nan]]),
        order=np.concatenate([late.order, [30, 31]])[:5],
        limit=5,
    )
    rankings[9] = ranked(401, 3)._replace(heads={}, attributes={}, scores=np.full(3, np.nan))
    ruled = rankings[11]
    rankings[11] = ruled._replace(
        order=ruled.order[::-1], categories={"author": np.arange(ruled.scored, dtype=np.int32)}
    )
    log = shelves(tmp_path)
    for of in rankings:
        assert log.add(entry(of)).error is None
    assert log.finish().written == 300
    assert scenes_of(tmp_path) == ["feed"]

    authors = {}

    def report(batches, names):
        found = Preview(lambda asked: Draft(formula("vcr * context.hour + user.age * ctr")), names)
        for batch in batches:
            authors.update(
                {a.request_id: a.categories["author"].tolist() for a in batch.asked if a.categories}
            )
            found.add(batch)
        return found.report()

    names, others = ItemNames(), ItemNames()
    read = report(read_batches(find_files(tmp_path, "feed"), 1000, names), names)
    assert authors == {"r11": list(range(ruled.scored))}
    kept = report(stack(rankings, others), others)
    for one in (read, kept):
        del one["movers"]  # ties among them stand in the order in which ids were met
    assert dict(leaves(read)) == pytest.approx(dict(leaves(kept)))


def test_the_last_requests_are_those_of_the_newest_files(tmp_path):
    log = shelves(tmp_path)
    for first in (0, 10, 20):
        for number in range(first, first + 10):
            log.add(entry(ranked(number, 3)))
        log.finish()
    names = ItemNames()
    found = list(read_batches(find_files(tmp_path, "feed"), 13, names))
    ids = [asked.request_id for batch in found for asked in batch.asked]
    assert ids == [*(f"r{n}" for n in range(20, 30)), "r17", "r18", "r19"]


def test_only_finished_files_can_be_seen(tmp_path):
    clock = Clock()
    log = shelves(tmp_path, clock=clock)
    log.add(entry(ranked(1, 3)))
    assert files(tmp_path) == []
    clock.now += GROUP_S
    assert log.tidy().written == 0
    assert files(tmp_path) == ["items.part", "requests.part"]
    clock.now += 300
    assert log.tidy().written == 1
    assert files(tmp_path) == ["items.parquet", "requests.parquet"]


def test_a_large_file_is_finished_before_its_time(tmp_path):
    log = shelves(tmp_path, bytes=100_000)
    written = 0
    for number in range(2_000):
        log.add(entry(ranked(number, 50)))
        written += log.tidy().written
    written += log.finish().written
    assert written == 2_000
    sizes = [path.stat().st_size for path in tmp_path.rglob("requests-*.parquet")]
    assert len(sizes) > 1


def test_each_content_of_an_item_is_written_once_a_file(tmp_path):
    log = shelves(tmp_path)
    for number in range(50):
        log.add(entry(ranked(number, 30)))
    log.finish()
    log.add(entry(ranked(1, 30)))
    log.finish()
    first, second = sorted(tmp_path.rglob("items-*.parquet"), key=lambda p: p.stat().st_mtime_ns)
    ids = parquet.read_table(first)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 80
    assert parquet.read_table(second).num_rows == 30  # a file stands for itself


def test_requests_name_the_records_that_items_were_scored_from(tmp_path):
    log = shelves(tmp_path)
    of = ranked(1, 5)
    used = entry(of).used
    # the item cache knew the first two; it told of them when it read them
    known = np.array([record_version(r) for r in used.item_records])
    blocks = {"item_values": used.blocks["item_values"]}
    log.add(ItemNote("feed", "m/1", of.ids, used.item_records, known, blocks))
    log.add(entry(of)._replace(used=used._replace(versions=known, item_records=[])))
    log.finish()
    (file,) = find_files(tmp_path, "feed")
    (logged,) = read_logged(file, 10)
    items = Items(tmp_path, "feed", "m/1")
    for id_, version, record, block in zip(
        logged.ids,
        logged.versions.tolist(),
        used.item_records,
        used.blocks["item_values"],
        strict=True,
    ):
        item = items.find(id_, version)
        assert item is not None
        assert item.record == record
        assert item.blocks["item_values"].tolist() == block.tolist()
    assert items.find(logged.ids[0], 12345) is None


def test_a_file_removed_after_it_was_listed_cannot_be_replayed_and_is_named(tmp_path):
    log = shelves(tmp_path)
    log.add(entry(ranked(1, 5)))
    log.finish()
    (file,) = find_files(tmp_path, "feed")
    (items,) = tmp_path.rglob("items-*.parquet")
    items.unlink()
    items.symlink_to(tmp_path / "removed")  # listed, and not there
    (logged,) = read_logged(file, 1)
    assert Items(tmp_path, "feed", "m/1").find(logged.ids[0], int(logged.versions[0])) is None
    file.path.unlink()
    with pytest.raises(FileGone) as gone:
        list(read_logged(file, 1))
    said = f"{file.path} was removed while the log was read: its service keeps no more"
    assert str(gone.value) == said


def test_a_model_that_was_replaced_leaves_nothing_in_memory(tmp_path):
    clock = Clock()
    log = shelves(tmp_path, clock=clock)

    def add(number, model, heads=("ctr",)):
        of = ranked(number, 30)
        kept = {name: of.heads[name] for name in heads}
        assert log.add(entry(of._replace(model=model, heads=kept))).error is None
        shelf = log._shelves["feed", model]
        (requests,) = (r for layout, r in shelf._requests.items() if layout.heads == heads)
        return [weakref.ref(shelf), weakref.ref(requests.rows)]

    old, left_out = add(1, "m/1"), add(2, "m/2", ("ctr", "vcr"))
    clock.now += GROUP_S
    assert log.tidy().written == 0
    assert None not in [ref() for ref in old + left_out]  # their files are not finished
    waiting = add(3, "m/2")
    clock.now += 295
    waiting += add(4, "m/3")
    clock.now += 5
    assert log.tidy().written == 3
    assert {ref() for ref in old + left_out} == {None}
    assert waiting[-1]() is not None  # of m/3, which came just now
    add(5, "m/2")
    assert log.finish().written == 2
    assert {ref() for ref in waiting} == {None}
    read = list(read_batches(find_files(tmp_path, "feed"), 99, ItemNames()))
    requests = sorted(asked.request_id for batch in read for asked in batch.asked)
    assert requests == ["r1", "r2", "r3", "r4", "r5"]


def fails_at(write: int):
    """Opens files of which the first one cannot take its n-th write."""
    calls = Counter()

    def open_file(path: Path):
        file = open_new(path)
        if calls["files"] == 0:

            class Full:
                def write(self, data):
                    calls["writes"] += 1
                    if calls["writes"] >= write:
                        raise OSError(28, os.strerror(28))
                    return file.write(data)

                def flush(self):
                    file.flush()

                def close(self):
                    file.close()

            calls["files"] += 1
            return Full()
        return file

    return open_file


@pytest.mark.parametrize("write", [1, 2])  # of the rows, of what ends the file
def test_a_disk_that_fills_loses_what_was_not_finished_and_no_more(tmp_path, write):
    log = shelves(tmp_path, open_file=fails_at(write))
    for number in range(30):
        log.add(entry(ranked(number, 30)))
    outcome = log.finish()
    assert outcome.error == "OSError: [Errno 28] No space left on device"
    assert (outcome.lost, outcome.written) == (30, 0)
    assert not list(tmp_path.rglob("*.part"))
    for number in range(7):
        log.add(entry(ranked(number, 30)))
    assert log.finish().written == 7
    read = list(read_batches(find_files(tmp_path, "feed"), 99, ItemNames()))
    assert sum(len(batch.asked) for batch in read) == 7


def full_device(path):
    return Path("/dev/full").open("wb")


def test_a_real_full_device_is_an_error_and_not_a_crash(tmp_path):
    log = shelves(tmp_path, open_file=full_device)
    log.add(entry(ranked(1, 30)))
    outcome = log.finish()
    assert outcome.lost == 1
    assert "No space left on device" in outcome.error
