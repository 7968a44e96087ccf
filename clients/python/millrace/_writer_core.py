"""A Writer without its face: its threads, and how others wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Union

from . import _outcome
from ._batch import Batch, Done
from ._errors import PublishError
from ._intake import Intake
from ._loop import LoopThread, Worker, within
from ._publisher import Publisher
from ._spool import Spool
from ._writer_base import call, tell
from ._writer_settings import WriterSettings


class ThreadWaiter:
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


class WriterCore:
    """What a Writer's threads hold of it: all but the Writer, so that one that was
    forgotten can be collected."""

    def __init__(self, intake: Intake, settings: WriterSettings, spool: Spool | None) -> None:
        self.intake = intake
        self.publisher: Publisher | None = None  # owned by the loop
        self._settings = settings
        self._spool = spool
        self._log = settings.connection.logger
        self._thread = LoopThread("millrace Writer", self._end, 2 * settings.close_timeout + _GRACE)
        if spool is not None:
            self._thread.bind()
        self._teller = Worker("millrace callbacks")
        self._starting = threading.Lock()
        self._closing = threading.Lock()  # held while close() runs
        self._closed = False
        self._told: list[_Told] = []  # owned by the loop: to be handed over in this turn

    def started(self) -> WriterCore:
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

    def give_up(self, waiter: ThreadWaiter, why: Exception) -> None:
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
