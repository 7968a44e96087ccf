"""Puts batches in the spool, and takes them from its front to daemons."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from ._batch import Batch
from ._loop import Worker
from ._spool import Spool, decode, encode


#: How long a spool that fails is left alone, in seconds.
_PAUSE = 1.0


class Replay:
    """A record that is on its way from the spool; it may have been split."""

    def __init__(self) -> None:
        self.left = 1
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Sender(Protocol):
    def send_first(self, batch: Batch) -> None:
        """Sends a batch, whose replay is told when it is stored or refused."""

    def spooled(self, batch: Batch, error: Exception | None) -> None:
        """A batch is in the spool, or could not be put there."""


class Spooler:
    """The spool's methods run in a thread of their own: a disk may be slow."""

    def __init__(self, spool: Spool, log: logging.Logger) -> None:
        self._spool = spool
        self._log = log
        self._worker = Worker("millrace spool")
        self._count = len(spool)
        self._pending: deque[Batch] = deque()
        self._putting = False
        self._some = asyncio.Event()  # there may be a record
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, sender: Sender) -> None:
        self._sender = sender
        if self._count:
            self._some.set()
        self._replaying = self._begin(self._replay())

    @property
    def count(self) -> int:
        """How many batches are in the spool, or on their way there."""
        return self._count + len(self._pending)

    @property
    def active(self) -> bool:
        """Whether what follows goes to the spool, too, so that the order stays."""
        return bool(self._count or self._pending)

    def put(self, batch: Batch) -> None:
        batch.out = True  # who gives up now cannot have it back
        self._pending.append(batch)
        if not self._putting:
            self._putting = True
            self._begin(self._put())

    async def end(self) -> None:
        """Closes the spool when all is put."""
        self._replaying.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._worker.run(self._spool.close)
        self._worker.end()
        self._worker.join()

    async def _put(self) -> None:
        while self._pending:
            batch = self._pending[0]
            record = encode(batch, time.time())
            error: Exception | None = None
            try:
                await self._worker.run(lambda: self._spool.put(record))
                self._count += 1
            except Exception as e:  # a spool of the user's may raise anything
                error = e
            self._pending.popleft()
            self._sender.spooled(batch, error)
            self._some.set()
        self._putting = False

    async def _replay(self) -> None:
        while True:
            await self._some.wait()
            try:
                await self._replay_one()
            except Exception as e:
                self._log.error("spool: %s", e)
                await asyncio.sleep(_PAUSE)

    async def _replay_one(self) -> None:
        record = await self._worker.run(self._spool.peek)
        if record is None:
            self._some.clear()
            return
        try:
            batch = decode(record, time.time(), time.monotonic())
        except ValueError as e:
            self._log.error("spool: a record of %d bytes is damaged, and dropped: %s", len(record), e)
        else:
            replay = batch.replay = Replay()
            self._sender.send_first(batch)
            await replay.done
        await self._drop()
        self._count -= 1

    async def _drop(self) -> None:
        # Only this is tried again: the record was delivered.
        while True:
            try:
                return await self._worker.run(self._spool.drop)
            except Exception as e:
                self._log.error("spool: %s", e)
                await asyncio.sleep(_PAUSE)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
