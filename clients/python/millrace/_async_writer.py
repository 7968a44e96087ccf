"""A Writer for programs that run on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from . import _outcome
from ._errors import PublishError
from ._batch import Batch, Done, Sink
from ._loop import within
from ._publisher import Publisher
from ._writer_base import Body, WriterBase, call, check_bodies, check_body, check_delay, check_name, tell
from ._writer_settings import WriterStats


class AsyncWriter(WriterBase):
    """Publishes messages, on asyncio.

        async with millrace.AsyncWriter(["127.0.0.1:4150"]) as writer:
            await writer.publish("greetings", b"hello")

    Settings, guarantees and errors are those of Writer, whose documentation says what
    they mean; methods that wait are coroutines here. A timeout may be given to each,
    in seconds; when a task that waits is cancelled, what it published is taken back
    if it is not on its way.

    A writer belongs to the event loop that it is first used on, and is used on that
    loop alone. It answers heartbeats there: a program that keeps its loop busy for
    a minute loses its connections.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _publisher: Publisher | None = None
    _closing: asyncio.Task[TimeoutError | None] | None = None

    def _prepare(self) -> None:
        if self._spool is not None and len(self._spool):
            with contextlib.suppress(RuntimeError):  # no loop runs yet
                asyncio.get_running_loop()
                self._begin()

    async def __aenter__(self) -> AsyncWriter:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._publisher is not None and self._closing is None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)

    async def publish(self, topic: str, body: Body, *, timeout: float | None = None) -> None:
        """Publish one message and wait until a daemon has it. See Writer.publish."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = _Waiter()
        await self._publish(topic, lambda go: self._intake.add(topic, message, waiter, go), 1, len(message), waiter, timeout)

    async def publish_many(self, topic: str, bodies: Iterable[Body], *, timeout: float | None = None) -> None:
        """Publish a batch, which is stored whole or not at all. See Writer.publish_many."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        waiter = _Waiter()
        add = self._adding(topic, messages, size, waiter)
        await self._publish(topic, add, len(messages), size, waiter, timeout)

    async def publish_deferred(self, topic: str, delay: float, body: Body, *, timeout: float | None = None) -> None:
        """Publish one message to be delivered after delay seconds. See
        Writer.publish_deferred."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = _Waiter()
        add = self._adding(topic, [message], len(message), waiter, check_delay(delay))
        await self._publish(topic, add, 1, len(message), waiter, timeout)

    async def publish_async(self, topic: str, body: Body, done: Done | None = None) -> None:
        """Accept one message, and wait for no more than room. See Writer.publish_async;
        done is called on the loop, and so must not block."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        await self._enter(topic, lambda go: self._intake.add(topic, message, done, go), 1, len(message))

    async def publish_many_async(self, topic: str, bodies: Iterable[Body], done: Done | None = None) -> None:
        """publish_async for a batch, which is stored whole or not at all."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        await self._enter(topic, self._adding(topic, messages, size, done), len(messages), size)

    async def publish_deferred_async(self, topic: str, delay: float, body: Body, done: Done | None = None) -> None:
        """publish_async for a message that is to be delivered after delay seconds."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        await self._enter(topic, self._adding(topic, [message], len(message), done, check_delay(delay)), 1, len(message))

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was accepted so far is finished and its callbacks
        have returned. See Writer.flush."""
        if self._publisher is not None and not await self._publisher.flush(timeout):
            raise TimeoutError(f"messages are still unanswered after {timeout:g} s")

    async def close(self) -> None:
        """Finish what was accepted, and end. See Writer.close."""
        self._intake.close()
        if self._publisher is None:
            if self._spool is not None:
                self._spool.close()
                self._spool = None
            return
        if self._closing is None:
            ending = self._publisher.close(self._settings.close_timeout)
            self._closing = asyncio.get_running_loop().create_task(ending)
            error = await asyncio.shield(self._closing)
            if error is not None:
                raise error
        else:
            await asyncio.wait({self._closing})

    def stats(self) -> WriterStats:
        """What the writer is doing, and has done."""
        return self._publisher.stats() if self._publisher is not None else WriterStats()

    # The rest.

    def _begin(self) -> Publisher:
        loop = asyncio.get_running_loop()
        if self._publisher is None:
            self._intake.check_open()
            self._loop = loop
            self._publisher = publisher = Publisher(self._intake, self._settings, self._spool, self._tell)
            self._intake.wake = lambda: loop.call_soon(publisher.pump)
            publisher.start()
        elif loop is not self._loop:
            raise RuntimeError("this AsyncWriter belongs to another event loop: make one for each")
        return self._publisher

    def _adding(
        self, topic: str, bodies: Sequence[bytes], size: int, sink: Sink, delay: float | None = None
    ) -> Callable[[bool], bool]:
        return lambda go: self._intake.add_batch(topic, bodies, sink, size=size, delay=delay, granted=go)

    async def _publish(
        self, topic: str, add: Callable[[bool], bool], count: int, size: int, waiter: _Waiter, timeout: float | None
    ) -> None:
        publisher = self._begin()
        began = time.monotonic()
        await self._enter(topic, add, count, size, timeout)
        timer = None
        if timeout is not None:
            late = TimeoutError(f"no answer within {timeout:g} s")
            left = max(0.0, began + timeout - time.monotonic())
            timer = publisher.loop.call_later(left, publisher.give_up, waiter, late)
        try:
            error = await waiter.outcome
        except asyncio.CancelledError:
            publisher.give_up(waiter, TimeoutError("the task was cancelled"))
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if error is not None:
            raise error

    async def _enter(
        self, topic: str, add: Callable[[bool], bool], count: int, size: int, timeout: float | None = None
    ) -> None:
        """Has add take messages, as soon as there is room."""
        publisher = self._begin()
        if add(False):
            return
        room = asyncio.Event()
        ticket = self._intake.stand_in_line(count, size, room.set)
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await within(timeout, room.wait())
            if not ticket.granted:
                self._intake.check_open()
                raise _outcome.no_room(topic, timeout or 0)
            add(True)
        except BaseException:
            self._intake.leave_line(ticket)
            raise

    def _tell(self, batch: Batch, error: PublishError | None) -> None:
        call(tell(batch, error), error, self._settings.connection.logger)
        self._intake.finish(batch)


class _Waiter:
    """A coroutine that waits for the outcome of its publish."""

    __slots__ = ("batch", "outcome")

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.outcome: asyncio.Future[PublishError | None] = asyncio.get_running_loop().create_future()

    def tell(self, error: PublishError | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(error)
