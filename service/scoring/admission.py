"""Which requests are let in: what is accepted is counted in seconds of work, not in requests.

Two questions, kept apart. *Load*: is more work offered than the threads can do, and does what was
accepted so far leave no time for one more request of the usual size? Then the service refuses,
before it has read a body. *Wait*: how long until a thread is free for this request, whatever the
cause? That decides how far down its ladder an accepted request goes. A burst, or a stall, of a
service that keeps up on average is no overload: those requests are let in and answered degraded.
"""

import heapq
from collections.abc import Callable
from math import exp

LEAST_BYTES_A_CANDIDATE = 4  # `"a",`

_LOAD_S = 0.5  # offered work is averaged over about so long
_LARGEST_BURST = 4.0  # times what fits: beyond, even the input order would come late
_STALL_FACTOR = 3.0  # work that takes this many times longer than predicted …
_STALL_S = 0.010  # … and this much longer stands still
_TYPICAL_WEIGHT = 0.05
_ERROR_WEIGHT = 0.05
_ERROR_SPREADS = 2.0
_LARGEST_MARGIN = 0.25  # of the time left: after a stall, expectations were wrong by far more
_LAG_DECAY = 0.95
_LARGEST_LAG_S = 0.010


class Overloaded(Exception):
    """No time is left for one more request; the sentence says what fills it."""

    def __init__(self, sentence: str, retry_after_s: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class Ticket:
    """One accepted request, and the work it brings.

    Used on the event loop. Only `started_at`, through `started`, and `threads` are set on worker
    threads, each in one step: the loop sees what was before, or what is now.
    """

    def __init__(
        self,
        admission: "Admission",
        arrived_at: float,
        finish_at: float,
        work_s: float,
        *,
        is_offered: bool = True,
    ) -> None:
        self._admission = admission
        self.is_offered = is_offered  # from outside, so that it says what is usual
        self.arrived_at = arrived_at
        self.finish_at = finish_at  # by now the work must be done, the reserve is left
        self.work_s = work_s  # in full, as far as it is known
        self.expected_at = 0.0  # when it was let in, the instant at which its work should end
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.threads = 1  # that have worked on it at once
        self._holds = 1

    @property
    def worked_s(self) -> float:
        """How long work on it has taken by now."""
        if self.started_at is None:
            return 0.0
        until = self._admission.clock() if self.ended_at is None else self.ended_at
        return until - self.started_at

    def expect(self, work_s: float, finish_at: float) -> None:
        """What this request really brings, once its body and its plan are known."""
        self.work_s, self.finish_at = work_s, finish_at

    def hand_over(self) -> None:
        """To the workers: this ticket stays until they are done with it, even unwaited for."""
        self._holds += 1

    def started(self) -> None:
        self.started_at = self._admission.clock()

    def finished(self) -> None:
        self.ended_at = self._admission.clock()
        if self.started_at is not None:
            self._admission.ended(self, self.ended_at)
        self.leave()

    def leave(self) -> None:
        """The request is answered."""
        self._holds -= 1
        if self._holds == 0:
            self._admission.forget(self)


class Admission:
    """The requests in progress. Knows neither bodies nor models.

    Used on the event loop; `in_progress` and `offered`, which read one object each, on any thread.

    Args:
        threads: how many requests are worked on at once.
        most_requests: in progress at most, whatever they cost.
        reserve_s: kept before each deadline for writing and sending the answer; what the event loop
            was late by recently comes on top.
        clock: the one of all instants here.
    """

    def __init__(
        self,
        threads: int,
        clock: Callable[[], float],
        *,
        reserve_s: float = 0.003,
        most_requests: int = 256,
    ) -> None:
        self.clock = clock
        self.typical_s = 0.0  # work of a usual request; 0 until one was seen
        self._typical_rows = 1.0
        self._threads = threads
        self._reserve_s = reserve_s
        self._most_requests = most_requests
        self._lag_s = 0.0
        self._error_s = self._error_spread_s = 0.0
        self._offered = 0.0, clock()  # the share, and when it was that; replaced as one
        self._tickets: dict[Ticket, None] = {}

    @property
    def reserve_s(self) -> float:
        return self._reserve_s + self._lag_s

    @property
    def in_progress(self) -> int:
        return len(self._tickets)

    def enter(
        self, timeout_s: float, body_bytes: int | None = None, *, is_offered: bool = True
    ) -> Ticket:
        """Let a request in that must be answered within `timeout_s`.

        `body_bytes` bounds how much work it can bring, before anybody has read it. A request of the
        service's own is not `is_offered`: it is work in progress, and says nothing of the load, nor
        of what is usual.

        Raises:
            Overloaded: the work that is accepted leaves it no time.
        """
        now = self.clock()
        finish_at = now + timeout_s - self.reserve_s
        work_s = self._usual_s(body_bytes)
        if is_offered:
            self._offer(now, work_s)
        ahead_s = self._require_room(now, finish_at, work_s, None)
        ticket = Ticket(self, now, finish_at, work_s, is_offered=is_offered)
        ticket.expected_at = now + ahead_s + work_s
        self._tickets[ticket] = None
        return ticket

    def settle(self, ticket: Ticket, finish_at: float) -> None:
        """Ask again for a request that turned out to be in more of a hurry than it was let in for.

        Raises:
            Overloaded: as `enter` does.
        """
        if finish_at < ticket.finish_at:
            ticket.finish_at = finish_at
            self._require_room(self.clock(), finish_at, ticket.work_s, ticket)

    def forget(self, ticket: Ticket) -> None:
        self._tickets.pop(ticket, None)

    def saw(self, rows: int, work_s: float) -> None:
        """Note what a request brings in full, so that the next ones are let in by it."""
        weight = _TYPICAL_WEIGHT if self.typical_s else 1.0
        self.typical_s += weight * (work_s - self.typical_s)
        self._typical_rows += weight * (rows - self._typical_rows)

    def ended(self, ticket: Ticket, at: float) -> None:
        """Compare when work ended with what was expected of it at the door.

        Work that stood still says nothing about expectations: learned from, one stall would have
        the next requests refused for a second. Of the service's own work nothing is expected.
        """
        stood_still = ticket.started_at is not None and _stood_still(
            at - ticket.started_at, ticket.work_s
        )
        if stood_still or not ticket.is_offered:
            return
        error_s = at - ticket.expected_at
        self._error_s += _ERROR_WEIGHT * (error_s - self._error_s)
        spread_s = abs(error_s - self._error_s)
        self._error_spread_s += _ERROR_WEIGHT * (spread_s - self._error_spread_s)

    def was_late(self, seconds: float) -> None:
        """Note how late the event loop was to pick up an answer: replies will be, too."""
        self._lag_s = max(self._lag_s * _LAG_DECAY, min(seconds, _LARGEST_LAG_S))

    def wait_s(self, ticket: Ticket) -> float:
        """Seconds until a thread is likely to be free for a ticket."""
        now = self.clock()
        return self._ahead_s(now, ticket.finish_at, ticket, self._remaining_s)

    def is_idle_but_for(self, ticket: Ticket) -> bool:
        """Whether no other request brings work."""
        return self._is_alone(ticket) or all(
            t is ticket or t.ended_at is not None for t in self._tickets
        )

    def backlog_s(self) -> float:
        """Seconds of accepted work, per thread."""
        now = self.clock()
        return sum(t.threads * _healthy_remaining_s(t, now) for t in self._tickets) / self._threads

    @property
    def offered(self) -> float:
        """Work that was asked for lately, refused or not, as a share of what the threads can do."""
        return self._offered_by(self.clock())

    def _offered_by(self, now: float) -> float:
        share, at = self._offered
        return share * exp((at - now) / _LOAD_S)

    def _offer(self, now: float, work_s: float) -> None:
        self._offered = self._offered_by(now) + work_s / (_LOAD_S * self._threads), now

    def _usual_s(self, body_bytes: int | None) -> float:
        """Work of a usual request, less where so short a body cannot hold as many candidates."""
        if body_bytes is None:
            return self.typical_s
        most_rows = body_bytes / LEAST_BYTES_A_CANDIDATE
        return self.typical_s * min(most_rows / max(self._typical_rows, 1.0), 1.0)

    def _require_room(
        self, now: float, finish_at: float, work_s: float, ticket: Ticket | None
    ) -> float:
        """Seconds of work ahead, if they leave room.

        Raises:
            Overloaded: they do not.
        """
        if self._is_alone(ticket):
            return 0.0
        # Those whose time is up are answered or leave by themselves: a body that never comes.
        current = [t for t in self._tickets if t is not ticket and now < t.finish_at]
        if len(current) >= self._most_requests:
            raise Overloaded(
                f"{len(current)} requests are in progress; at most {self._most_requests} are"
            )
        ahead_s = self._ahead_s(now, finish_at, ticket, _healthy_remaining_s)
        left_s = max(finish_at - now, 0.0)
        # What expectations at the door were wrong by lately, features and parsing included.
        margin_s = self._error_s + _ERROR_SPREADS * self._error_spread_s
        margin_s = min(max(margin_s, 0.0), _LARGEST_MARGIN * left_s)
        has_room = ahead_s == 0 or ahead_s + work_s + margin_s <= left_s
        is_burst = self.offered <= 1 and ahead_s <= _LARGEST_BURST * left_s
        if has_room or is_burst or self._stands_still(now):
            return ahead_s
        raise Overloaded(
            f"the work accepted so far takes {ahead_s * 1000:.0f} ms and one more"
            f" request {work_s * 1000:.0f} ms (±{margin_s * 1000:.0f} ms);"
            f" {left_s * 1000:.0f} ms are left"
        )

    def _ahead_s(
        self,
        now: float,
        finish_at: float,
        ticket: Ticket | None,
        remaining_s: Callable[[Ticket, float], float],
    ) -> float:
        """Seconds until the first thread is free for work that must be done by `finish_at`."""
        if self._is_alone(ticket):
            return 0.0
        # Each ticket in one of them, even if it starts meanwhile.
        running: list[Ticket] = []
        waiting: list[Ticket] = []
        for other in self._tickets:
            if other is not ticket and other.ended_at is None:
                (waiting if other.started_at is None else running).append(other)
        busy = [left for t in running for left in [remaining_s(t, now)] * t.threads]
        free_in = [0.0] * (self._threads - len(busy)) + busy
        heapq.heapify(free_in)
        # The most urgent goes first, so later deadlines are not ahead.
        first = (t for t in waiting if t.finish_at <= finish_at)
        for other in sorted(first, key=lambda t: t.finish_at):
            heapq.heapreplace(free_in, free_in[0] + remaining_s(other, now))
        return free_in[0]

    def _remaining_s(self, ticket: Ticket, now: float) -> float:
        """What is left of a ticket's work. Overdue work is expected to last as long again."""
        left = _healthy_remaining_s(ticket, now)
        if ticket.started_at is None:
            return left
        return max(left, now - ticket.started_at - ticket.work_s / ticket.threads)

    def _is_alone(self, ticket: Ticket | None) -> bool:
        """Whether no other request is in progress; then there is nothing to add up."""
        return len(self._tickets) == (ticket in self._tickets)

    def _stands_still(self, now: float) -> bool:
        """Whether every thread is far beyond what its work should have taken."""
        running = [
            (now - t.started_at, t)
            for t in self._tickets
            if t.started_at is not None and t.ended_at is None
        ]
        return sum(t.threads for _, t in running) >= self._threads and all(
            _stood_still(elapsed, t.work_s) for elapsed, t in running
        )


def _stood_still(elapsed_s: float, work_s: float) -> bool:
    return elapsed_s > _STALL_FACTOR * work_s + _STALL_S


def _healthy_remaining_s(ticket: Ticket, now: float) -> float:
    """What is left of a ticket's work if nothing is wrong, for each of the threads it has."""
    if ticket.ended_at is not None:
        return 0.0
    if ticket.started_at is not None:
        return max(ticket.work_s / ticket.threads - (now - ticket.started_at), 0.0)
    return ticket.work_s if now < ticket.finish_at else 0.0
