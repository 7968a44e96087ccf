"""A Reader for programs on asyncio."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, TypeVar

from ._consumer import Consumer
from ._errors import ClosedError
from ._handling import Running
from ._message import Message, ReaderStats
from ._reader_base import NOTHING, ReaderBase, parse_place
from ._ready import Ready
from ._tasks import Tasks

Self = TypeVar("Self", bound="AsyncReader")


class AsyncReader(ReaderBase):
    """A Reader on asyncio: see Reader, whose settings, messages and guarantees it has.

        async with AsyncReader("orders", "mail", addresses=["127.0.0.1:4150"]) as reader:
            async for message in reader:
                await send_mail(message.body)
                message.finish()

    handler, batch_handler and on_give_up are coroutine functions (or functions that
    do not block); concurrency of them run at once, as tasks. Those that still run
    after shutdown_timeout are cancelled. A message's methods may be called from any
    thread, everything else only on the loop that the reader was begun on.
    """

    def _prepare(self) -> None:
        self._life: asyncio.Task[None] | None = None
        self._consumer: Consumer | None = None
        self._workers: Tasks | None = None
        self._pulled: dict[asyncio.Task[Any] | None, Message] = {}

    async def run(self) -> None:
        """Consume until close() is called, giving messages to the handler.

        It connects again whenever a daemon comes back. If it is cancelled, it closes
        first, in good order; cancelled once more, at once. A reader runs only once:
        RuntimeError. Called after close(), it returns.
        """
        self._check_use(pulling=False)
        self._note_run()
        if not self._closed:
            workers, life = self._begin()
            workers.start()
            await self._end(life)

    def __aiter__(self) -> AsyncIterator[Message]:
        """Pull messages one by one, each to be answered with its finish() or requeue().

        It ends after close(). While the loop's body runs, its message is kept with
        TOUCH.
        """
        self._check_use(pulling=True)
        return _AsyncPull(self)

    def _begin(self) -> tuple[Tasks, asyncio.Task[None]]:
        if self._workers is None or self._life is None:
            ready = Ready(self._settings.batch_size, self._settings.batch_wait)
            self._consumer = Consumer(self._settings, ready, paused=self._paused)
            self._workers = Tasks(self._consumer, ready)
            self._life = asyncio.get_running_loop().create_task(self._consumer.live(self._workers))
        return self._workers, self._life

    async def _end(self, life: asyncio.Task[None]) -> None:
        """Wait for the end; if that is cancelled, close first."""
        try:
            await asyncio.shield(life)
        except asyncio.CancelledError:
            if self._consumer is not None:
                self._consumer.stop()
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                life.cancel()
                await asyncio.wait({life})
                raise
            raise

    async def close(self) -> None:
        """End, in good order, and return when nothing of the reader's is left.

        Daemons are asked for nothing more; messages that no handler has begun are
        given back; handlers, and messages that were kept, are waited for as
        shutdown_timeout allows. A message that this task has pulled and not answered
        is requeued. Called by a handler it only begins this.
        """
        self._closed = True
        if self._life is None or self._consumer is None or self._workers is None:
            return
        task = asyncio.current_task()
        if (pulled := self._pulled.pop(task, None)) is not None:
            pulled.requeue()
        self._consumer.stop()
        if task not in self._workers.tasks:
            await self._end(self._life)

    def pause(self) -> None:
        """Ask for no more messages, until resume(). What has been delivered is handled."""
        self._set_paused(True)

    def resume(self) -> None:
        """Ask for messages again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._consumer is not None:
            self._consumer.pause(paused)

    async def seek(self, place: str | datetime.datetime) -> None:
        """Move the channel to place: see Reader.seek."""
        where = parse_place(place)
        if self._closed:
            raise ClosedError("the reader is closed")
        self._begin()
        assert self._consumer is not None
        await self._consumer.seek(where)

    def stats(self) -> ReaderStats:
        """What was done so far."""
        return self._consumer.stats() if self._consumer is not None else NOTHING

    def starved(self) -> bool:
        """See Reader.starved."""
        return self._consumer is not None and self._consumer.starved()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class _AsyncPull:
    """An iteration over an AsyncReader."""

    def __init__(self, reader: AsyncReader) -> None:
        self._reader = reader
        self._slot = Running()

    def __aiter__(self) -> _AsyncPull:
        return self

    async def __anext__(self) -> Message:
        reader = self._reader
        if reader._closed and reader._life is None:
            raise StopAsyncIteration
        workers, life = reader._begin()
        task = asyncio.current_task()
        reader._pulled.pop(task, None)
        workers.handling.slots.add(self._slot)
        message = await workers.next(self._slot)
        if message is None:
            await reader._end(life)
            raise StopAsyncIteration
        reader._pulled[task] = message
        return message

    def __del__(self) -> None:
        self._slot.messages = ()
        if self._reader._workers is not None:
            self._reader._workers.handling.slots.discard(self._slot)
