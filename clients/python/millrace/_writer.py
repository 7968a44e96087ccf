"""A Writer for programs without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Union

from . import _outcome
from ._errors import PublishError
from ._intake import Batch, Done, Intake, Sink
from ._loop import LoopThread, Worker, within
from ._publisher import Publisher
from ._spool import Spool
from ._writer_base import Body, WriterBase, call, check_bodies, check_body, check_delay, check_name, tell
from ._writer_settings import WriterSettings, WriterStats


class Writer(WriterBase):
    """Publishes messages.

        with millrace.Writer(["127.0.0.1:4150"]) as writer:
            writer.publish("greetings", b"hello")

    A writer may be used by any number of threads. What they publish singly at the
    same time is sent together, so many threads, or publish_async, are fast. It
    connects when it is first used, spreads over the daemons that it knows, and leaves
    those that are gone. Daemons are addresses (host:port of their TCP side), or found
    through lookupds (host:port of their HTTP side, or URLs), or both.

    A publish ends as stored, or raises one of three errors:

    - RefusedError: certainly not stored, and would be refused again (a topic's name,
      a message's size, a right that is missing);
    - UnavailableError: certainly not stored; nobody took it for as long as it was
      tried. Publishing it again later may succeed;
    - UncertainError: it was sent, and no answer came. It may or may not be stored.

    What is certainly not stored is tried again, on other daemons first and then with
    growing pauses, until the timeout of the publish or retry_for is over; without
    either, for as long as it takes.

    Settings; times are in seconds, sizes in bytes:

    addresses, lookupds
        One or more, as above. lookup_interval: how often lookupds are asked (60).
    max_connections
        The most daemons that it is connected to at once, of those that it knows (4).
    max_in_flight, max_in_flight_bytes
        How many messages (10,000), and bytes of them (64 MiB), may be accepted and
        not finished; more wait. A batch that is larger alone is taken when nothing
        else is in flight.
    linger
        How long a single message waits for others while the daemons owe answers; one
        that finds nothing on its way is sent at once. At most, and normally, 0.001;
        0 sends each message by itself.
    batch_messages, batch_bytes
        The most that share a command (1,000 and 256 KiB).
    retry_for
        How long a message is tried again after a failure that left it certainly not
        stored. None leaves it to the publish's timeout; 0 never tries twice.
    retry_uncertain
        Tries what may be stored again, too: it is not lost, but may be there twice.
    spool, spool_after
        A directory (or an object with the methods of millrace.Spool) for what no
        daemon has taken within spool_after (1): it counts as accepted, survives the
        program, and is delivered in order when a daemon is back. A message may then
        be delivered twice, never lost.
    close_timeout
        How long close() waits for answers (10).
    on_publish
        Called with a Published for each command that was answered or has failed, on
        the thread that answers heartbeats: it must not block.
    dial_timeout, write_timeout
        To connect to a daemon and be greeted, and for a lookupd's answer (5); for a
        daemon that does not read (10).
    heartbeat_interval
        Asked of daemons, at least 1; 0 leaves it to them (30). Silence of two is death.
    tls
        An ssl.SSLContext, or True for the default one: every connection is upgraded,
        and a daemon that does not offer TLS is not used. It serves for lookupds given
        as https URLs, too.
    compression, deflate_level
        "snappy" (if python-snappy or cramjam is installed) or "deflate" (1 to 9, 6),
        with daemons that offer it.
    auth_secret
        Said to daemons that require AUTH; to others it is not sent.
    region, zone
        Where this program runs: of the daemons that lookupds list, those of the same
        zone, then region, are preferred.
    client_id, hostname, user_agent
        What the daemons' statistics show.
    logger
        A logging.Logger; the one named "millrace" otherwise.

    Raises ValueError for settings that cannot be right, SpoolError for a spool that
    cannot be opened. A writer that was in use in a process that forks cannot be used
    in its child.
    """

    def _prepare(self) -> None:
        self._core = _Core(self._intake, self._settings, self._spool)
        # Of a writer that was forgotten, and at the program's end.
        self._finalizer = weakref.finalize(self, self._core.forsake)
        self._finalizer.atexit = False  # _loop sees to it, and waits

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, topic: str, body: Body, *, timeout: float | None = None) -> None:
        """Publish one message and wait until a daemon has it.

        topic is a name of 1 to 64 of ".a-zA-Z0-9_-"; body is at least one byte, and at
        most what the daemon takes (1 MiB if it was told nothing else). timeout is in
        seconds, for everything: room, a connection, all that is tried, the answer.

        Raises RefusedError, UnavailableError or UncertainError, see above; ClosedError
        after close(); TypeError for a body that is not bytes. At a KeyboardInterrupt
        the message is taken back if it is not on its way, and may be stored if it is.
        """
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = _Waiter()
        add = self._core.intake.add
        self._publish(topic, lambda go: add(topic, message, waiter, go), 1, len(message), waiter, timeout)

    def publish_many(self, topic: str, bodies: Iterable[Body], *, timeout: float | None = None) -> None:
        """publish() for a batch, which is one MPUB of its own and stored whole or not at
        all; nsqd alone may store some of it, which is an UncertainError. Together it
        may have what the daemon takes (5 MiB if it was told nothing else)."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        waiter = _Waiter()
        self._publish(topic, self._adding(topic, messages, size, waiter), len(messages), size, waiter, timeout)

    def publish_deferred(self, topic: str, delay: float, body: Body, *, timeout: float | None = None) -> None:
        """publish() for a message that is to be delivered delay seconds after it reaches
        the daemon, in whole milliseconds, rounded up. The daemon refuses delays over
        its limit, an hour if it was told nothing else."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = _Waiter()
        add = self._adding(topic, [message], len(message), waiter, check_delay(delay))
        self._publish(topic, add, 1, len(message), waiter, timeout)

    def publish_async(self, topic: str, body: Body, done: Done | None = None) -> None:
        """Accept one message, and return at once, or when there is room (max_in_flight).

        done is called with the outcome: None if it is stored, else one of the three
        errors. Without done, what fails is counted in stats(). Callbacks run one after
        the other in a thread of their own; one that blocks holds up the others, and in
        the end those who publish, but no heartbeat and no answer. They may publish.

        Raises RefusedError for what no daemon would take, and ClosedError after
        close(); done is not called then.
        """
        check_name(self._names, topic)
        message = check_body(topic, body)
        core = self._core.started()
        if not core.intake.add(topic, message, done):
            core.wait_and_add(lambda go: core.intake.add(topic, message, done, go), topic, 1, len(message), None)

    def publish_many_async(self, topic: str, bodies: Iterable[Body], done: Done | None = None) -> None:
        """publish_async() for a batch, which is stored whole or not at all; done is
        called once for it."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        self._core.started().enter(self._adding(topic, messages, size, done), topic, len(messages), size, None)

    def publish_deferred_async(self, topic: str, delay: float, body: Body, done: Done | None = None) -> None:
        """publish_async() for a message that is to be delivered after delay seconds."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        add = self._adding(topic, [message], len(message), done, check_delay(delay))
        self._core.started().enter(add, topic, 1, len(message), None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was accepted so far is finished, and its callbacks
        have returned. Raises TimeoutError when that takes longer than timeout seconds."""
        self._core.flush(timeout)

    def close(self) -> None:
        """Finish what was accepted, within close_timeout, and end: connections, threads
        and the spool are closed when it returns. What is not stored by then goes to the
        spool, or fails.

        A program that forgets close() has what it published sent when it ends, as far
        as close_timeout allows. Calling it again does nothing. Raises TimeoutError if messages
        were left; each publish's own outcome says what became of it.
        """
        self._core.close()

    def stats(self) -> WriterStats:
        """What the writer is doing, and has done. May be called at any time."""
        publisher = self._core.publisher
        return publisher.stats() if publisher is not None else WriterStats()

    def _adding(
        self, topic: str, bodies: Sequence[bytes], size: int, sink: Sink, delay: float | None = None
    ) -> Callable[[bool], bool]:
        add = self._core.intake.add_batch
        return lambda go: add(topic, bodies, sink, size=size, delay=delay, granted=go)

    def _publish(
        self, topic: str, add: Callable[[bool], bool], count: int, size: int, waiter: _Waiter, timeout: float | None
    ) -> None:
        began = time.monotonic()
        core = self._core.started()
        core.check_caller()
        core.enter(add, topic, count, size, timeout)
        left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
        try:
            told = waiter.wait(left)
        except BaseException:
            core.give_up(waiter, TimeoutError("the publish was interrupted"))
            raise
        if not told:
            core.give_up(waiter, TimeoutError(f"no answer within {timeout:g} s"))
            waiter.wait(None)
        if waiter.error is not None:
            raise waiter.error


class _Waiter:
    """A thread that waits for the outcome of its publish."""

    __slots__ = ("batch", "error", "_told")

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.error: PublishError | None = None
        self._told = threading.Lock()
        self._told.acquire()

    def tell(self, error: PublishError | None) -> None:
        self.error = error
        self._told.release()

    def wait(self, timeout: float | None) -> bool:
        return acquire(self._told, timeout)


def acquire(lock: threading.Lock, timeout: float | None) -> bool:
    return lock.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))


_Told = tuple[Batch, list[Done], Union[PublishError, None]]


#: How long, in seconds, a program's end waits for what close() has to do beyond
#: the waiting that close_timeout bounds: answers, and then callbacks.
_GRACE = 5.0


class _Core:
    """What a Writer's threads hold of it: all but the Writer, so that one that was
    forgotten can be collected."""

    def __init__(self, intake: Intake, settings: WriterSettings, spool: Spool | None) -> None:
        self.intake = intake
        self.publisher: Publisher | None = None  # owned by the loop
        self._settings = settings
        self._spool = spool
        self._log = settings.connection.logger
        self._thread = LoopThread("millrace Writer", self._end, 2 * settings.close_timeout + _GRACE)
        self._teller = Worker("millrace callbacks")
        self._starting = threading.Lock()
        self._closing = threading.Lock()  # held while close() runs
        self._closed = False
        self._told: list[_Told] = []  # owned by the loop: to be handed over in this turn

    def started(self) -> _Core:
        """Begins, at the first use."""
        if self.publisher is None:
            with self._starting:
                if self.publisher is None:
                    self.intake.check_open()
                    self._thread.run(self._begin())
        elif self._thread.forked:
            self._thread.check_fork()
        return self

    def enter(
        self, add: Callable[[bool], bool], topic: str, count: int, size: int, timeout: float | None
    ) -> None:
        """Has add take messages, as soon as there is room."""
        try:
            if not add(False):
                self.wait_and_add(add, topic, count, size, timeout)
        except BaseException:
            # An interrupt may have come just before the loop was woken.
            self.intake.wake()
            raise

    def wait_and_add(
        self, add: Callable[[bool], bool], topic: str, count: int, size: int, timeout: float | None
    ) -> None:
        self._thread.check_caller()
        if self._teller.current:
            # All room may be taken by what waits for this very callback.
            self.intake.force(count, size)
            add(True)
            return
        room = threading.Lock()
        room.acquire()
        ticket = self.intake.stand_in_line(count, size, room.release)
        try:
            acquire(room, timeout)
            if not ticket.granted:
                self.intake.check_open()
                raise _outcome.no_room(topic, timeout or 0)
            add(True)
        except BaseException:
            self.intake.leave_line(ticket)
            raise

    def give_up(self, waiter: _Waiter, why: Exception) -> None:
        publisher = self.publisher
        assert publisher is not None
        self._thread.call(publisher.give_up, waiter, why)

    def flush(self, timeout: float | None) -> None:
        if self.publisher is None or self._closed:
            return
        self._check_callback("flush")
        if not self._thread.run(self.publisher.flush(timeout)):
            raise TimeoutError(f"messages are still unanswered after {timeout:g} s")

    def close(self) -> None:
        self._check_callback("close")
        self._thread.check_fork()
        self.intake.close()
        with self._closing:
            if self._closed:
                return
            try:
                error = self._close_publisher()
            finally:
                self._closed = True
                self._thread.stop()
        if error is not None:
            raise error

    def forsake(self) -> None:
        """Ends what a forgotten Writer has begun, without waiting for it."""
        if self._thread.forked:
            return  # locks may be held for ever by threads that stayed behind
        self.intake.close()
        if self.publisher is None:
            if self._spool is not None:
                self._spool.close()
        elif not self._closed:
            self._log.warning("a Writer was not closed")
            self._thread.abandon()

    def _close_publisher(self) -> TimeoutError | None:
        """Returns what close() is to raise."""
        if self.publisher is None:
            if self._spool is not None:
                self._spool.close()
            return None
        deadline = time.monotonic() + self._settings.close_timeout
        try:
            error = self._thread.run(self.publisher.close(self._settings.close_timeout))
        except BaseException:  # everybody who waits is told, if in a hurry
            self._thread.run(self.publisher.close(0))
            raise
        finally:
            self._teller.end()
        if not self._teller.join(max(0.1, deadline - time.monotonic())):
            self._log.warning("a Writer was closed while a callback was running")
        return error

    async def _begin(self) -> None:
        publisher = Publisher(self.intake, self._settings, self._spool, self._tell)
        self.intake.wake = lambda: self._thread.call(publisher.pump)
        publisher.start()
        self.publisher = publisher

    async def _end(self) -> None:
        """Closes at the program's end, on the loop."""
        self.intake.close()
        assert self.publisher is not None
        error = await self.publisher.close(self._settings.close_timeout)
        self._hand_over()
        with contextlib.suppress(asyncio.TimeoutError):
            await within(self._settings.close_timeout, self._teller.run(lambda: None))  # behind all callbacks
        self._teller.end()
        if error is not None:
            self._log.error("%s", error)

    def _tell(self, batch: Batch, error: PublishError | None) -> None:
        # What one turn of the loop brings goes over together: a switch of threads
        # costs more than all the rest.
        if not self._told:
            assert self.publisher is not None
            self.publisher.loop.call_soon(self._hand_over)
        self._told.append((batch, tell(batch, error), error))

    def _hand_over(self) -> None:
        told, self._told = self._told, []
        silent = [batch for batch, dones, _ in told if not dones]
        if silent:
            self.intake.finish(*silent)
        loud = [outcome for outcome in told if outcome[1]]
        if loud:
            self._teller.do(lambda: self._call_back(loud))

    def _call_back(self, told: list[_Told]) -> None:
        for _, dones, error in told:
            call(dones, error, self._log)
        self.intake.finish(*(batch for batch, _, _ in told))

    def check_caller(self) -> None:
        """Raises RuntimeError on the loop's thread, which must not wait for the loop."""
        self._thread.check_caller()

    def _check_callback(self, method: str) -> None:
        if self._teller.current:
            raise RuntimeError(f"{method}() in a callback would wait for itself")
