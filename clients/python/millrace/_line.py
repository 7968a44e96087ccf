"""A Reader's connection to one daemon, and the way of answers to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from . import _wire
from ._connection import Connection
from ._credit import PROBE, TURN, Share
from ._errors import ConnectionFailed, ProtocolError, ServerError
from ._loop import within
from ._message import Message

# SOON is the longest, in seconds, that an answer waits for company while its
# thread has more messages in hand.
SOON = 0.001

# LATELY is what a line's traffic is measured over, in seconds.
LATELY = 0.005


class Outbox:
    """Answers on their way from the threads that give them to the loop.

    Many cross over at once: a wake-up of the loop costs as much as dozens of
    answers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, flushed: Callable[[list[Line]], None]) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._flushed = flushed
        # Guards below, and what lines say that it does. Never held across I/O or
        # a user's callback.
        self.lock = threading.Lock()
        self._dirty: list[Line] = []
        self._scheduled = False  # _flush is about to run
        self._armed = False  # or will within SOON

    def add_locked(self, line: Line, command: str, soon: bool) -> Callable[[], None] | None:
        """Append a command. What is returned must be passed to wake, without the lock."""
        if not line.out:
            self._dirty.append(line)
        line.out.append(command)
        return self._due_locked(soon)

    def _due_locked(self, soon: bool) -> Callable[[], None] | None:
        if self._scheduled or (soon and self._armed):
            return None
        if soon:
            self._armed = True
            return self._arm
        self._scheduled = True
        return self.flush

    def hurry(self) -> None:
        """Have what was added with soon written now."""
        if self._dirty:
            with self.lock:
                call = self._due_locked(False)
            self.wake(call)

    def wake(self, call: Callable[[], None] | None) -> None:
        if call is None:
            return
        if threading.get_ident() == self._thread:
            self._loop.call_soon(call)
            return
        # A loop that is closed has closed every connection before.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    def _arm(self) -> None:
        self._loop.call_later(SOON, self.flush)

    def flush(self) -> None:
        """Write what was added. Runs on the loop."""
        with self.lock:
            self._scheduled = self._armed = False
            dirty, self._dirty = self._dirty, []
            commands = ["".join(line.out) for line in dirty]
            for line in dirty:
                line.out.clear()
        for line, command in zip(dirty, commands):
            line.write(command.encode("latin-1"))
        self._flushed(dirty)


class Delivery:
    """What the messages of one read have in common. Times are time.monotonic()'s."""

    __slots__ = ("line", "at", "deadline")

    def __init__(self, line: Line, at: float, deadline: float) -> None:
        self.line = line
        self.at = at
        self.deadline = deadline  # when the daemon takes them back


class Owner(Protocol):
    """What a line needs of its Reader."""

    outbox: Outbox
    log: logging.Logger

    def delivered(self, messages: list[Message]) -> None: ...

    def moved(self, line: Line) -> None:
        """The channel was moved: what came before is not to be handled."""

    def note_change(self) -> None:
        """Credit may have to be divided anew."""

    def requeue_delay(self, attempts: int) -> float: ...


class Line:
    """A connection to one daemon, subscribed.

    finish, requeue, touch and drop may be called from any thread, all else
    belongs to the loop.
    """

    def __init__(self, owner: Owner, address: str) -> None:
        self.address = address
        self.timeout = 60.0  # seconds, of a message, by the daemon
        self.longest = 900.0  # seconds that TOUCH can keep a message
        self.ready = 0  # the credit that the daemon was last given
        self._share = Share(limit=0)
        self._peak = 0  # the most that was in flight since credit was divided last
        self._hungry = False  # since then, all credit was used up
        self._heard = 0.0  # when messages came last, or the last one was answered
        self._since, self._lately = 0.0, 0  # messages in a short while, and its beginning
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.settled = asyncio.Event()  # nothing new comes, and everything is answered
        self._owner = owner
        self._outbox = owner.outbox
        self._connection: Connection | None = None
        # Answers to come, in the order of commands.
        self._expected: deque[tuple[bytes, asyncio.Future[None], Callable[[], None] | None]] = deque()
        self._closing = False  # CLS was said
        self._closed = False  # and answered: no message follows
        self._parted = False  # nothing more is said

        # Guarded by the outbox's lock.
        self.out: list[str] = []
        self.lost = False
        self.in_flight = 0
        self.over = False  # it had more in flight than its credit, of which some is answered
        self.received = self.finished = self.requeued = self.expired = 0

    # Connecting.

    async def subscribe(self, connection: Connection, topic: str, channel: str, timeout: float) -> None:
        """Say SUB on the connection that was made with this line's on_frames and on_lost.

        Raises what ask does.
        """
        self._connection = connection
        self.timeout = connection.info["msg_timeout"] / 1000
        self.longest = connection.info["max_msg_timeout"] / 1000
        began = time.monotonic()
        await self.ask(_wire.sub(topic, channel), _wire.OK, timeout)
        now = time.monotonic()
        probe = min(max(2 * (now - began), PROBE), TURN)
        self._share = Share(limit=connection.info["max_rdy_count"], probe=probe, due=now)

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise ConnectionFailed(f"{self.address} is not connected")
        return self._connection

    async def ask(self, command: bytes, answer: bytes, timeout: float, then: Callable[[], None] | None = None) -> None:
        """Say a command that is answered, and wait for that.

        then is called when the answer has come, before anything that was sent
        after it is looked at. Raises ServerError if the daemon refuses,
        ConnectionFailed if it is lost or does not answer in timeout seconds.
        """
        if self.lost:
            raise ConnectionFailed(f"the connection to {self.address} is lost")
        future = self._expect(answer, then)
        self.write(command)
        try:
            await within(timeout, future)
        except asyncio.TimeoutError:
            what = command.split(None, 1)[0].decode()
            raise ConnectionFailed(f"{self.address} did not answer {what} within {timeout:g} s") from None

    def _expect(self, answer: bytes, then: Callable[[], None] | None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected.append((answer, future, then))
        return future

    def write(self, data: bytes) -> None:
        if data and not self.lost and not self._parted and self._connection is not None:
            self._connection.write(data)

    # Credit.

    def share(self) -> Share:
        """Tell what the line does with its credit, and begin to measure anew."""
        s = self._share
        s.ready, s.in_flight, s.peak, s.heard = self.ready, self.in_flight, self._peak, self._heard
        s.hungry = self._hungry or 0 < self.in_flight >= self.ready
        self._peak, self._hungry = s.in_flight, False
        return s

    def set_ready(self, count: int) -> None:
        """Give the daemon credit for count messages in flight."""
        if count != self.ready and not self._closing and not self.lost:
            self.ready = count
            self.write(_wire.rdy(count))

    def _note_arrival(self, count: int) -> None:
        """Note that count messages have come.

        A line is hungry if all its credit is in flight, and also if as much came in a
        short while: what is on its way back to the daemon is in flight for it, and not
        for us.
        """
        self._heard = now = time.monotonic()
        self._peak = max(self._peak, self.in_flight)
        if now - self._since > LATELY:
            self._since, self._lately = now, 0
        self._lately += count
        if not self._hungry and max(self.in_flight, self._lately) >= self.ready:
            self._hungry = True
            self._owner.note_change()

    def note_answers(self) -> None:
        """Note that answers were written."""
        if self.in_flight <= 0:
            self._heard = time.monotonic()
        if self.over:
            self.over = False
            self._owner.note_change()  # others wait for what it has answered
        self.look()

    # Parting.

    def close(self) -> None:
        """Say CLS, after which nothing new comes."""
        if not self._closing and not self.lost:
            self._closing = True
            self._expect(_wire.CLOSE_WAIT, self._note_closed)
            self.write(_wire.CLS)

    def _note_closed(self) -> None:
        self._closed = True
        self.look()

    async def part(self, linger: float) -> None:
        """End the connection once everything is written and the daemon has closed its
        side, for which it has linger seconds."""
        if self._connection is not None:
            self._parted = True
            await self._connection.close(linger=linger)

    def look(self) -> None:
        """Note whether everything is settled."""
        if self.lost or (self._closed and self.in_flight == 0):
            self.settled.set()

    # What the connection says.

    def on_frames(self, frames: Iterable[tuple[int, bytes]]) -> None:
        now = time.monotonic()
        delivery = Delivery(self, now, now + self.timeout)
        messages: list[Message] = []
        unpack, header, append = _wire.MESSAGE_HEADER.unpack_from, _wire.MESSAGE_HEADER.size, messages.append
        try:
            for kind, data in frames:
                if kind == _wire.FRAME_MESSAGE:
                    timestamp, attempts, id = unpack(data)
                    append(Message(str(id, "latin-1"), timestamp, attempts, data[header:], delivery))
                else:
                    # What CLOSE_WAIT follows must be known to be in flight before it.
                    self._deliver(messages.copy())
                    messages.clear()
                    self._control(kind, data)
        except struct.error:
            raise ProtocolError(f"{self.address} sent a message shorter than its header") from None
        self._deliver(messages)

    def _deliver(self, messages: list[Message]) -> None:
        if messages:
            with self._outbox.lock:
                self.in_flight += len(messages)
                self.received += len(messages)
            self._note_arrival(len(messages))
            self._owner.delivered(messages)

    def _control(self, kind: int, data: bytes) -> None:
        if kind == _wire.FRAME_RESPONSE:
            if not self._expected or self._expected[0][0] != data:
                raise ProtocolError(f"{self.address} sent an unexpected response {data[:40]!r}")
            _, future, then = self._expected.popleft()
            if then is not None:
                then()
            if not future.done():
                future.set_result(None)
        elif kind == _wire.FRAME_ERROR:
            self._error(_wire.parse_error(data))
        else:
            raise ProtocolError(f"{self.address} sent a frame of unknown type {kind}")

    def _error(self, error: ServerError) -> None:
        if error.code in ("E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"):
            # The message's timeout was faster; it comes again.
            self._owner.log.info("an answer to %s came too late: %s", self.address, error)
            return
        if self._expected:
            _, future, _ = self._expected.popleft()
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting
        if error.fatal:
            raise error

    def on_lost(self, error: Exception) -> None:
        with self._outbox.lock:
            self.lost = True
            self.in_flight = 0
            self.out.clear()
        for _, future, _ in self._expected:
            if not future.done():
                future.set_exception(ConnectionFailed(str(error)))
                future.exception()  # nobody may be waiting
        self._expected.clear()
        self.settled.set()
        if not self.ended.done():
            self.ended.set_result(error)

    # Answers, from any thread.

    def finish(self, message: Message, soon: bool = False) -> None:
        with self._outbox.lock:
            if not self._take_locked(message):
                return
            self.finished += 1
            call = self._outbox.add_locked(self, f"FIN {message.id}\n", soon)
        if call is not None:
            self._outbox.wake(call)

    def finish_all(self, messages: Iterable[Message]) -> None:
        """finish(soon=True) for messages of this line's."""
        with self._outbox.lock:
            ids = [m.id for m in messages if self._take_locked(m)]
            if not ids:
                return
            self.finished += len(ids)
            call = self._outbox.add_locked(self, "FIN " + "\nFIN ".join(ids) + "\n", True)
        self._outbox.wake(call)

    def requeue(self, message: Message, delay: float | None = None, soon: bool = False) -> None:
        if delay is None:
            delay = self._owner.requeue_delay(message.attempts)
        elif not 0 <= delay < math.inf:
            raise ValueError(f"delay: {delay} is no number of seconds from 0")
        with self._outbox.lock:
            if not self._take_locked(message):
                return
            self.requeued += 1
            call = self._outbox.add_locked(self, f"REQ {message.id} {_wire.milliseconds(delay)}\n", soon)
        self._outbox.wake(call)

    def touch(self, message: Message) -> None:
        with self._outbox.lock:
            if message._answered or self.lost:
                return
            call = self._outbox.add_locked(self, f"TOUCH {message.id}\n", False)
        self._outbox.wake(call)

    def drop(self, message: Message) -> None:
        """Forget a message that the daemon has taken back."""
        with self._outbox.lock:
            if self._take_locked(message):
                self.expired += 1
                # No command, but who waits for in_flight to fall must look.
                call = self._outbox.add_locked(self, "", True)
            else:
                call = None
        self._outbox.wake(call)

    def _take_locked(self, message: Message) -> bool:
        """Claim the right to answer message, which one call has."""
        if message._answered:
            return False
        message._answered = True
        if self.lost:
            return False
        self.over = self.over or self.in_flight > self.ready
        self.in_flight -= 1
        return True
