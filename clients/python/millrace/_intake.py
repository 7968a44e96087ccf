"""What publishers hand in, until it is taken to be sent: messages gathered in
batches, within bounds. Without clock and I/O; one lock makes it safe to use from
any thread."""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ._batch import GONE, Batch, Mark, Sink, Waiter
from ._errors import ClosedError

_CLOSED = "the writer is closed"


class _Sizes(dict[int, bytes]):
    """Lengths as the four bytes before a body: looking one up is faster than packing
    it."""

    def __missing__(self, n: int) -> bytes:
        packed = struct.pack(">I", n)
        if len(self) < 1 << 16:
            self[n] = packed
        return packed


_sizes = _Sizes()


class Ticket:
    """A place in the line of those who wait for room."""

    def __init__(self, count: int, size: int, wake: Callable[[], object]) -> None:
        self.count = count
        self.size = size
        self.wake = wake
        self.granted = False


class Intake:
    """Batches that are open, and the room for messages in flight.

    wake is called, without the lock, when collect() should be: once until it is.
    """

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        batch_messages: int,
        batch_bytes: int,
        gather: bool,
        clock: Callable[[], float],
    ) -> None:
        self.wake: Callable[[], object] = lambda: None
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._batch_items = 3 * batch_messages if gather else 3
        self._batch_bytes = batch_bytes
        self._clock = clock

        self._lock = threading.Lock()  # guards below; never held across a wait or a call to others
        self._closed = False
        self._messages = 0  # in flight
        self._bytes = 0
        self._line: deque[Ticket] = deque()
        self._open: dict[str, Batch] = {}
        self._full: deque[Batch] = deque()  # closed, not collected
        self._live: dict[Batch, None] = {}  # not finished, oldest first
        self._marked = False  # what is open is to be collected, too
        self._woken = False  # wake was called, and collect not yet
        self._lingering = False  # collect will be called in time for what is open

    # For publishers, on any thread.

    def add(self, topic: str, body: bytes, sink: Sink, granted: bool = False) -> bool:
        """Takes a message. Returns False if there is no room. granted says that there
        is, by a ticket. Raises ClosedError."""
        size = len(body)
        with self._lock:
            self.check_open()
            # Nobody goes past those who wait.
            if not granted and (self._line or not self._fits(1, size)):
                return False
            batch = self._open.get(topic)
            if batch is None:
                batch = self._open[topic] = self._new(topic)
            if sink is not None and not callable(sink):
                sink.batch = batch
            items = batch.items
            items += (_sizes[size], body, sink)
            batch.bytes += size
            if not granted:
                self._messages += 1
                self._bytes += size
            if len(items) >= self._batch_items or batch.bytes >= self._batch_bytes:
                self._full.append(self._open.pop(topic))
            elif self._lingering:
                return True
            if self._woken:
                return True
            self._woken = True
        self.wake()
        return True

    def add_batch(
        self,
        topic: str,
        bodies: Sequence[bytes],
        sink: Sink,
        *,
        size: int,
        delay: float | None = None,
        granted: bool = False,
    ) -> bool:
        """add() for messages that are one batch, of size bytes together; delay is in
        seconds and for a single deferred one."""
        items: list[Any] = [None] * (3 * len(bodies))
        items[::3] = map(_sizes.__getitem__, map(len, bodies))
        items[1::3] = bodies
        items[2] = sink
        with self._lock:
            self.check_open()
            if not granted:
                if self._line or not self._fits(len(bodies), size):
                    return False
                self._messages += len(bodies)
                self._bytes += size
            before = self._open.pop(topic, None)
            if before is not None:  # the order stays
                self._full.append(before)
            batch = self._new(topic)
            batch.items, batch.bytes, batch.whole, batch.delay = items, size, True, delay
            if sink is not None and not callable(sink):
                sink.batch = batch
            self._full.append(batch)
            if self._woken:
                return True
            self._woken = True
        self.wake()
        return True

    def stand_in_line(self, count: int, size: int, wake: Callable[[], object]) -> Ticket:
        """Waits for room: wake is called, on any thread, when the ticket is granted,
        or when it never will be because the intake is closed."""
        ticket = Ticket(count, size, wake)
        with self._lock:
            self.check_open()
            self._line.append(ticket)
            woken = self._grant()
        _call(woken)
        return ticket

    def leave_line(self, ticket: Ticket) -> None:
        """Gives up a place in line, or the room that it was granted and that was not
        used."""
        with self._lock:
            if ticket.granted:
                self._messages -= ticket.count
                self._bytes -= ticket.size
            elif ticket in self._line:
                self._line.remove(ticket)
            woken = self._grant()
        _call(woken)

    def force(self, count: int, size: int) -> None:
        """Takes room beyond the bounds."""
        with self._lock:
            self.check_open()
            self._messages += count
            self._bytes += size

    def mark(self, reached: Callable[[], object]) -> None:
        """Has reached called, on any thread, when all that was accepted so far is
        finished."""
        with self._lock:
            mark = Mark(len(self._live), reached)
            for batch in self._live:
                if batch.marks is None:
                    batch.marks = []
                batch.marks.append(mark)
            self._marked = True
        if not mark.left:
            reached()
        self.wake()

    def close(self) -> None:
        """Has everything refused from now on with ClosedError."""
        with self._lock:
            self._closed = True
            woken = list(self._line)
            self._line.clear()
        _call(woken)

    def check_open(self) -> None:
        """Raises ClosedError after close()."""
        if self._closed:
            raise ClosedError(_CLOSED)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Messages, and bytes of their bodies, that are accepted and not finished."""
        return self._messages, self._bytes

    # For the publisher, on its loop.

    def collect(self, everything: bool) -> tuple[list[Batch], bool]:
        """The batches that are closed; with everything, also those that are open.
        Returns also whether open ones are left: then wake is called only when one has
        become full, and collect should be called again soon."""
        with self._lock:
            if everything or self._marked:
                self._marked = False
                self._full += self._open.values()
                self._open.clear()
            batches = list(self._full)
            self._full.clear()
            self._woken = False
            self._lingering = bool(self._open)
            return batches, self._lingering

    def finish(self, *batches: Batch) -> None:
        """Forgets batches, whose sinks were told, and gives their room back. May be
        called on any thread."""
        reached: list[Mark] = []
        with self._lock:
            for batch in batches:
                del self._live[batch]
                self._messages -= batch.count
                self._bytes -= batch.bytes
                reached += self._reach(batch)
            woken = self._grant()
        _call(woken)
        for mark in reached:
            mark.reached()

    def withdraw(self, waiter: Waiter) -> Batch | None:
        """Takes the publish of one that waits out of its batch. Returns the batch, in
        which the messages still are if it is on its way; None if waiter was told."""
        with self._lock:
            batch, waiter.batch = waiter.batch, None
            if batch is None:
                return None
            at = batch.items.index(waiter) - 2
            if batch.out:
                batch.items[at + 2] = GONE
                return batch
            count, size = 1, len(batch.items[at + 1])
            if batch.whole:
                count, size = batch.count, batch.bytes
            del batch.items[at : at + 3 * count]
            batch.bytes -= size
            self._messages -= count
            self._bytes -= size
            woken = self._grant()
        _call(woken)
        return batch

    def purge(self, batch: Batch) -> None:
        """Drops the messages of a batch that came back whose waiters were withdrawn
        meanwhile."""
        with self._lock:
            if GONE not in batch.items:
                return
            if batch.whole:
                kept: list[Any] = []
            else:
                triples = zip(batch.items[::3], batch.bodies, batch.sinks)
                kept = [part for triple in triples if triple[2] is not GONE for part in triple]
            gone, size = (len(batch.items) - len(kept)) // 3, batch.bytes - sum(map(len, kept[1::3]))
            batch.items = kept
            batch.bytes -= size
            self._messages -= gone
            self._bytes -= size
            woken = self._grant()
        _call(woken)

    def split(self, batch: Batch) -> Batch:
        """Moves the second half of batch's messages to one that is returned."""
        with self._lock:
            other = batch.halve()
            self._live[other] = None
            for sink in other.sinks:
                if sink is not None and not callable(sink):
                    sink.batch = other
            if batch.marks is not None:
                other.marks = list(batch.marks)
                for mark in batch.marks:
                    mark.left += 1
        return other

    # With the lock held.

    def _fits(self, count: int, size: int) -> bool:
        """What is larger than the bounds is taken alone."""
        return self._messages <= 0 or (
            self._messages + count <= self._max_messages and self._bytes + size <= self._max_bytes
        )

    def _grant(self) -> list[Ticket]:
        granted = []
        while self._line and self._fits(self._line[0].count, self._line[0].size):
            ticket = self._line.popleft()
            self._messages += ticket.count
            self._bytes += ticket.size
            ticket.granted = True
            granted.append(ticket)
        return granted

    def _new(self, topic: str) -> Batch:
        batch = Batch(topic, self._clock())
        self._live[batch] = None
        return batch

    def _reach(self, batch: Batch) -> list[Mark]:
        marks, batch.marks = batch.marks or [], None
        for mark in marks:
            mark.left -= 1
        return [mark for mark in marks if not mark.left]


def _call(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.wake()
