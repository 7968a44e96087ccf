"""Handlers in threads, for a Reader without an event loop of its user's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from ._consumer import Consumer
from ._handling import Handling, Running, later
from ._message import Message
from ._ready import Ready


# SIGNALS is for how long, in seconds, a thread waits at a time: a signal that comes
# when the main thread is about to wait (or, on Windows, while it does) is not seen
# before the wait ends.
SIGNALS = 1.0


class Bell:
    """Wakes threads that wait for messages."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._changed = threading.Condition()
        ready.ring = self._ring

    def _ring(self, count: int) -> None:
        with self._changed:
            self._changed.notify(count) if count else self._changed.notify_all()

    def wait(self) -> bool:
        """Wait until there may be something to take; return False if nothing will come
        any more."""
        with self._changed:
            while not self._ready.closed:
                due = self._ready.due()
                if due == 0:
                    return True
                if due is None and threading.current_thread() is threading.main_thread():
                    due = SIGNALS
                self._changed.wait(due)
        return False


class Threads:
    """As many threads as the Reader's concurrency says. Made on the loop."""

    def __init__(self, consumer: Consumer, ready: Ready) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumer = consumer
        self._settings = consumer.settings
        self._ready = ready
        self._bell = Bell(ready)
        self._left = 0  # threads that have not ended
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.handling = Handling(consumer, self._loop.call_soon_threadsafe)
        self.threads: list[threading.Thread] = []
        self._gone: list[threading.Thread] = []  # of these, those that have ended, but for a few instructions

    def start(self) -> None:
        """Begin to handle."""
        work = self._work if self._settings.handler is not None else self._work_many
        name = f"millrace {self._settings.topic}/{self._settings.channel}"
        self._left = self._settings.concurrency
        for i in range(self._settings.concurrency):
            # A daemon, because one that never ends must not keep the program from
            # ending; close() waits for all that do.
            thread = threading.Thread(target=self._run, args=(work, self.handling.slot()), name=f"{name} {i}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def has(self, ident: int) -> bool:
        """Whether a thread is one of these."""
        return any(t.ident == ident for t in self.threads)

    def reap(self) -> None:
        """Wait for the threads that have come to their end."""
        for thread in self._gone:
            thread.join()

    def running(self) -> list[list[Message]]:
        return self.handling.running()

    async def join(self, deadline: float) -> None:
        if not self._left:
            return
        await asyncio.wait({self._ended}, timeout=max(0.0, deadline - time.monotonic()))
        if self._left:
            self._consumer.log.error(
                "%d handlers still run after shutdown_timeout (%g s) and are left behind; what they had comes again",
                self._left, self._settings.shutdown_timeout,
            )

    def _run(self, work: Callable[[Running], None], slot: Running) -> None:
        fault: BaseException | None = None
        try:
            work(slot)
        except BaseException as e:
            fault = e
        slot.messages = ()
        self._gone.append(threading.current_thread())
        # One that was left behind finds no loop.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note_end, fault)

    def _note_end(self, fault: BaseException | None) -> None:
        if fault is not None:
            self._consumer.fail(fault)
        self._left -= 1
        if not self._left:
            self._ended.set_result(None)

    def next(self, slot: Running) -> Message | None:
        """Return the next message that is to be pulled, which is then in slot; None if
        there will be none any more."""
        while True:
            slot.messages = ()
            m = self._ready.take()
            if m is None:
                if not self._bell.wait():
                    return None
                continue
            if not self.handling.wanted(m):
                continue
            if self.handling.too_often(m):
                self._give_up(m, slot)
                continue
            slot.messages = (m,)
            return m

    def _work(self, slot: Running) -> None:
        handler, ended, wanted = self._settings.handler, self.handling.ended, self.handling.wanted
        take, hurry, limit = self._ready.take, self._consumer.outbox.hurry, self._settings.max_attempts
        watched = self._settings.on_handled is not None or self._settings.max_backoff > 0
        assert handler is not None
        while True:
            m = take()
            if m is None:
                slot.messages = ()
                hurry()
                if not self._bell.wait():
                    return
                continue
            if not wanted(m):
                continue
            if 0 < limit < m.attempts:
                self._give_up(m, slot)
                continue
            slot.messages = (m,)
            began = time.monotonic() if watched else 0.0
            try:
                error: BaseException | None = later(handler(m))
            except BaseException as e:
                error = e
            if error is None and not watched:
                m._delivery.line.finish(m, True)
            else:
                ended([m], began, error)

    def _work_many(self, slot: Running) -> None:
        handler, handling = self._settings.batch_handler, self.handling
        assert handler is not None
        while True:
            if self._ready.due() != 0:
                slot.messages = ()
                self._consumer.outbox.hurry()
                if not self._bell.wait():
                    return
            batch = [m for m in self._ready.take_many() if handling.wanted(m)]
            if self._settings.max_attempts:
                for m in filter(handling.too_often, batch):
                    self._give_up(m, slot)
                batch = [m for m in batch if not handling.too_often(m)]
            if not batch:
                continue
            slot.messages = batch
            began = time.monotonic()
            try:
                # The user may do with the list as he likes.
                error: BaseException | None = later(handler(list(batch)))
            except BaseException as e:
                error = e
            handling.ended(batch, began, error)

    def _give_up(self, message: Message, slot: Running) -> None:
        give_up = self._settings.on_give_up
        if give_up is None:
            self.handling.given_up(message)
            return
        slot.messages = (message,)
        began = time.monotonic()
        try:
            error: BaseException | None = later(give_up(message))
        except BaseException as e:
            error = e
        self.handling.ended([message], began, error, attempt=False)
