"""Handlers in tasks, for an AsyncReader."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable

from ._consumer import Consumer
from ._handling import Handling, Running, later
from ._loop import within
from ._message import Message
from ._ready import Ready

# YIELD is for how long, in seconds, handlers that never wait may keep the loop
# from everything else: heartbeats must be answered.
YIELD = 0.005


class Bell:
    """Wakes tasks that wait for messages."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._waiting: deque[asyncio.Future[None]] = deque()
        ready.ring = self._ring

    def _ring(self, count: int) -> None:
        woken = 0
        while self._waiting and (woken < count or not count):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                woken += 1

    async def wait(self) -> bool:
        """Wait until there may be something to take; return False if nothing will come
        any more."""
        while not self._ready.closed:
            due = self._ready.due()
            if due == 0:
                return True
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await (within(due, future) if due else future)
            except asyncio.TimeoutError:
                pass
        return False


class Tasks:
    """As many tasks as the Reader's concurrency says."""

    def __init__(self, consumer: Consumer, ready: Ready) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumer = consumer
        self._settings = consumer.settings
        self._ready = ready
        self._cancelled = False
        self._turn = 0.0  # when who pulls has last let others run
        self.bell = Bell(ready)
        self.handling = Handling(consumer, self._loop.call_soon)
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        work = self._work if self._settings.handler is not None else self._work_many
        for _ in range(self._settings.concurrency):
            task = self._loop.create_task(work(self.handling.slot()))
            task.add_done_callback(self._done)
            self.tasks.append(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._consumer.fail(fault)

    def running(self) -> list[list[Message]]:
        return self.handling.running()

    async def join(self, deadline: float) -> None:
        if not self.tasks:
            return
        try:
            _, late = await asyncio.wait(self.tasks, timeout=max(0.0, deadline - time.monotonic()))
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if late:
            self._consumer.log.warning(
                "%d handlers still run after shutdown_timeout (%g s) and are cancelled", len(late), self._settings.shutdown_timeout
            )
            await self._cancel()

    async def _cancel(self) -> None:
        self._cancelled = True
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)

    async def _call(self, f: Callable[..., object], argument: object) -> BaseException | None:
        """Call a handler, and return what it raised. Raises CancelledError only if the
        Reader ends, not if something has cancelled the handler alone."""
        try:
            result = f(argument)
            if inspect.isawaitable(result):
                result = await result
            return later(result)
        except asyncio.CancelledError as e:
            if self._cancelled:
                raise
            return e
        except Exception as e:
            return e

    async def next(self, slot: Running) -> Message | None:
        """Return the next message that is to be pulled, which is then in slot; None if
        there will be none any more."""
        while True:
            slot.messages = ()
            now = time.monotonic()
            if now - self._turn > YIELD:
                await asyncio.sleep(0)
                self._turn = time.monotonic()
            m = self._ready.take()
            if m is None:
                if not await self.bell.wait():
                    return None
                self._turn = time.monotonic()
                continue
            if not self.handling.wanted(m):
                continue
            if self.handling.too_often(m):
                await self._give_up(m, slot)
                continue
            slot.messages = (m,)
            return m

    async def _work(self, slot: Running) -> None:
        handler, handling = self._settings.handler, self.handling
        assert handler is not None
        turn = time.monotonic()
        while True:
            m = self._ready.take()
            if m is None:
                slot.messages = ()
                if not await self.bell.wait():
                    return
                turn = time.monotonic()
                continue
            if not handling.wanted(m):
                continue
            if handling.too_often(m):
                await self._give_up(m, slot)
                continue
            slot.messages = (m,)
            began = time.monotonic()
            if began - turn > YIELD:
                await asyncio.sleep(0)
                turn = time.monotonic()
            handling.ended([m], began, await self._call(handler, m))

    async def _work_many(self, slot: Running) -> None:
        handler, handling = self._settings.batch_handler, self.handling
        assert handler is not None
        while True:
            if self._ready.due() != 0:
                slot.messages = ()
                if not await self.bell.wait():
                    return
            batch = [m for m in self._ready.take_many() if handling.wanted(m)]
            if self._settings.max_attempts:
                for m in filter(handling.too_often, batch):
                    await self._give_up(m, slot)
                batch = [m for m in batch if not handling.too_often(m)]
            if not batch:
                continue
            slot.messages = batch
            began = time.monotonic()
            # The user may do with the list as he likes.
            handling.ended(batch, began, await self._call(handler, list(batch)))
            await asyncio.sleep(0)

    async def _give_up(self, message: Message, slot: Running) -> None:
        give_up = self._settings.on_give_up
        if give_up is None:
            self.handling.given_up(message)
            return
        slot.messages = (message,)
        began = time.monotonic()
        self.handling.ended([message], began, await self._call(give_up, message), attempt=False)
