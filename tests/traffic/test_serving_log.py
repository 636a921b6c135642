"""The queue and the thread behind it: nothing that happens to the disk reaches whoever offers."""

import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from service.traffic.sampling import Sample
from service.traffic.serving_log import FAILED, QUEUE_FULL, WRITTEN, ServingLog, open_log
from service.traffic.shelves import Rotation, Shelves
from tests.traffic.rankings import entry, ranked

PIPE_BYTES = 4096  # the least that the kernel gives


class Counts(Counter):
    def __call__(self, result, requests):
        self[result] += requests


def serving_log(root, counts, most=10_000, sinks=(), **rotation):
    settings = {"bytes": 1 << 30, "seconds": 300.0, "unique": "here_1"}
    files = Shelves(root, Rotation(**{**settings, **rotation}))
    return ServingLog(files, Sample(1), most_candidates=most, count=counts, sinks=sinks)


def test_what_is_offered_can_be_read_when_the_files_are_finished(tmp_path):
    counts = Counts()
    log = serving_log(tmp_path, counts)
    log.start()
    for number in range(40):
        log.offer(entry(ranked(number, 3)))
    assert log.finish_files(20)
    assert counts == {WRITTEN: 40}
    assert log.waiting == 0
    log.offer(entry(ranked(41, 3)))
    log.close()
    assert counts[WRITTEN] == 41


def test_more_candidates_than_the_queue_holds_are_dropped_and_counted(tmp_path):
    counts = Counts()
    log = serving_log(tmp_path, counts, most=100)
    for number in range(10):
        log.offer(entry(ranked(number, 30)))
    assert counts == {QUEUE_FULL: 7}
    assert log.waiting == 90
    log.start()
    log.close()
    assert counts == {QUEUE_FULL: 7, WRITTEN: 3}


def test_a_disk_that_hangs_drops_requests_and_delays_nobody(tmp_path):
    """The file is a FIFO that nobody reads: the kernel itself keeps the writer waiting."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    counts = Counts()
    log = serving_log(
        tmp_path / "log", counts, most=3_000, open_file=lambda path: fifo.open("wb", buffering=0)
    )
    log.start()
    offers, entries = [], [entry(ranked(number, 300)) for number in range(60)]
    for one in entries:
        began = time.thread_time()
        log.offer(one)
        offers.append(time.thread_time() - began)
    log._roll.set()  # have it write now
    select.select([reader], [], [])  # it does, and hangs where the pipe is full
    while not counts[QUEUE_FULL]:
        log.offer(entries[0])
    for _ in range(50):
        log.offer(entries[0])
    assert counts[QUEUE_FULL] >= 50
    assert counts[WRITTEN] == 0
    assert sorted(offers)[30] < 0.001  # CPU seconds: handing over a reference
    os.close(reader)  # the write ends with EPIPE
    log.close()
    assert counts[FAILED] > 0


_ENDS = """
import fcntl, os, select, sys, tempfile
from pathlib import Path
from service.traffic import serving_log
from service.traffic.sampling import Sample
from service.traffic.shelves import Rotation, Shelves
from tests.traffic.rankings import entry, ranked

serving_log._CLOSE_S = 0.2
directory = Path(tempfile.mkdtemp(dir=sys.argv[1]))
fifo = directory / "fifo"
os.mkfifo(fifo)
reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
rotation = Rotation(1 << 30, 300.0, "x", open_file=lambda path: fifo.open("wb", buffering=0))
log = serving_log.ServingLog(
    Shelves(directory / "log", rotation), Sample(1), most_candidates=100_000, count=print
)
log.start()
for number in range(60):
    log.offer(entry(ranked(number, 300)))
log._roll.set()
select.select([reader], [], [])

class Answers:
    "The disk answers while the interpreter ends."
    def __del__(self, close=os.close, sleep=__import__("time").sleep):
        close(reader)
        sleep(0.3)

sys.modules["answers"] = type(sys)("answers")
sys.modules["answers"].it = Answers()
log.close()
print("hangs" if log._thread.is_alive() else "ended", flush=True)
"""


def test_a_disk_that_answers_as_the_process_ends_aborts_nothing(tmp_path):
    words = (sys.executable, "-c", _ENDS, str(tmp_path))
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hangs\n", "")


def test_after_an_error_the_disk_rests_and_is_tried_again(tmp_path):
    counts, clock = Counts(), [0.0]
    broken = [True]

    def open_file(path):
        return (Path("/dev/full") if broken[0] else path).open("wb")

    files = Shelves(tmp_path, Rotation(1 << 30, 300.0, "here_1", open_file=open_file))
    log = ServingLog(files, Sample(1), most_candidates=1000, count=counts, clock=lambda: clock[0])
    log.start()
    log.offer(entry(ranked(1, 3)))
    log.finish_files(20)
    assert counts == {FAILED: 1}
    broken[0] = False
    log.offer(entry(ranked(2, 3)))
    log.finish_files(20)
    assert counts == {FAILED: 2}  # it rests
    clock[0] += 2
    log.offer(entry(ranked(3, 3)))
    log.finish_files(20)
    log.close()
    assert counts == {FAILED: 2, WRITTEN: 1}


def test_a_sink_that_breaks_stops_neither_files_nor_thread(tmp_path):
    class Broken:
        def write(self, entries):
            raise RuntimeError("no")

    counts = Counts()
    log = serving_log(tmp_path, counts, sinks=[Broken()])
    log.start()
    log.offer(entry(ranked(1, 3)))
    assert log.finish_files(20)
    log.offer(entry(ranked(2, 3)))
    log.close()
    assert counts == {WRITTEN: 2}


def test_offers_of_many_threads_all_arrive(tmp_path):
    counts = Counts()
    log = serving_log(tmp_path, counts, most=1 << 30)
    log.start()
    entries = [entry(ranked(number, 2)) for number in range(20)]

    def offer():
        for one in entries:
            log.offer(one)

    threads = [threading.Thread(target=offer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert counts == {WRITTEN: 160}


def test_without_pyarrow_the_log_says_what_to_install(tmp_path, monkeypatch):
    from service.traffic.errors import NoParquet

    monkeypatch.setitem(sys.modules, "service.traffic.shelves", None)
    with pytest.raises(
        NoParquet, match=r"the serving log in .*log needs pyarrow: \./install cpu,log"
    ):
        open_log(
            tmp_path / "log",
            Sample(1),
            unique="x",
            most_candidates=1,
            rotate_bytes=1,
            rotate_s=1,
            count=Counts(),
        )
