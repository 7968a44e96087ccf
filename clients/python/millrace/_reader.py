"""Reader and AsyncReader."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from ._consumer import Consumer
from ._errors import ClosedError
from ._handling import Running
from ._loop import LoopThread
from ._message import Handled, Message, ReaderStats
from ._reader_settings import ReaderSettings
from ._ready import Ready
from ._settings import ConnectionSettings
from ._tasks import Tasks
from ._threads import Threads

_NOTHING = ReaderStats(0, 0, 0, 0, 0, 0)

# _GOODBYE is how long, in seconds, daemons may take to close.
_GOODBYE = 1.0

Sync = TypeVar("Sync", bound="Reader")
Async = TypeVar("Async", bound="AsyncReader")


class _Settled:
    """What both forms of a Reader have in common: their settings."""

    def __init__(
        self,
        topic: str,
        channel: str,
        *,
        addresses: Iterable[str] = (),
        lookupds: Iterable[str] = (),
        handler: Callable[[Message], object] | None = None,
        batch_handler: Callable[[list[Message]], object] | None = None,
        max_in_flight: int = 200,
        concurrency: int = 1,
        batch_size: int = 200,
        batch_wait: float = 0,
        requeue_delay: float = 5.0,
        max_requeue_delay: float = 300.0,
        backoff: float = 1.0,
        max_backoff: float = 0,
        max_attempts: int = 0,
        on_give_up: Callable[[Message], object] | None = None,
        touch_for: float = 0,
        shutdown_timeout: float = 10.0,
        msg_timeout: float = 0,
        sample_rate: int = 0,
        start: str = "latest",
        lookup_interval: float = 60.0,
        on_handled: Callable[[Handled], object] | None = None,
        **connection: Any,
    ) -> None:
        for name, value in (("addresses", addresses), ("lookupds", lookupds)):
            if isinstance(value, (str, bytes)):
                raise TypeError(f"{name} must be a list of addresses, not one: [{value!r}]")
        self._settings = ReaderSettings(
            topic=topic, channel=channel, addresses=tuple(addresses), lookupds=tuple(lookupds),
            handler=handler, batch_handler=batch_handler,
            max_in_flight=max_in_flight, concurrency=concurrency, batch_size=batch_size, batch_wait=batch_wait,
            requeue_delay=requeue_delay, max_requeue_delay=max_requeue_delay, backoff=backoff, max_backoff=max_backoff,
            max_attempts=max_attempts, on_give_up=on_give_up, touch_for=touch_for, shutdown_timeout=shutdown_timeout,
            msg_timeout=msg_timeout, sample_rate=sample_rate, start=start, lookup_interval=lookup_interval,
            on_handled=on_handled, connection=ConnectionSettings(**connection),
        )
        self._settings.check()
        self._closed = False
        self._paused = False
        self._ran = False
        self._setup()

    def _setup(self) -> None:
        """Prepare what the form needs."""

    @property
    def topic(self) -> str:
        return self._settings.topic

    @property
    def channel(self) -> str:
        return self._settings.channel

    def _check_use(self, pulling: bool) -> None:
        handled = self._settings.handler is not None or self._settings.batch_handler is not None
        if pulling and handled:
            raise RuntimeError("this reader has a handler: its messages cannot be pulled as well")
        if not pulling and not handled:
            raise RuntimeError("this reader has no handler: give it one, or iterate over it")

    def _note_run(self) -> None:
        if self._ran:
            raise RuntimeError("a reader runs only once")
        self._ran = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic}/{self.channel}>"


def _place(place: str | datetime.datetime) -> str:
    if isinstance(place, datetime.datetime):
        if place.tzinfo is None:
            raise ValueError(f"place: {place} has no time zone")
        return place.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    if not place or not place.isascii() or not place.isprintable() or " " in place:
        raise ValueError(f"place: {place!r} is none of 'earliest', 'latest', a message's ID and a time (RFC 3339)")
    return place


class AsyncReader(_Settled):
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

    def _setup(self) -> None:
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
        where = _place(place)
        if self._closed:
            raise ClosedError("the reader is closed")
        self._begin()
        assert self._consumer is not None
        await self._consumer.seek(where)

    def stats(self) -> ReaderStats:
        """What was done so far."""
        return self._consumer.stats() if self._consumer is not None else _NOTHING

    def starved(self) -> bool:
        """See Reader.starved."""
        return self._consumer is not None and self._consumer.starved()

    async def __aenter__(self: Async) -> Async:
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


class Reader(_Settled):
    """Consumes one channel of one topic from every daemon that has it.

    Three ways to use it. A handler is called with each message; when it returns, the
    message is finished; when it raises, it is delivered again later:

        Reader("orders", "mail", addresses=["127.0.0.1:4150"], handler=send_mail).run()

    A batch_handler is called with a list of messages, which is faster. Or messages
    are pulled, and answered by who pulls them:

        with Reader("orders", "mail", lookupds=["127.0.0.1:4161"]) as reader:
            for message in reader:
                send_mail(message)
                message.finish()

    A message is delivered until it was finished: when a program dies, a connection
    breaks or a handler takes longer than the message timeout allows, it comes again,
    to any of the channel's readers. Handlers must bear that.

    No event loop is needed; none of the user's is touched. Connections live in a
    thread of their own, so that a handler that blocks stops no heartbeat. All methods
    may be called from any thread.

    Settings, of which the first two and addresses or lookupds must be given. Times
    are in seconds:

        topic, channel: names: 1 to 64 of . a-z A-Z 0-9 _ -, with #ephemeral at the
            end for what should not outlive its last reader.
        addresses: TCP addresses (host:port) of queue daemons, all of which are
            consumed from. Those that lookupds list are added to them.
        lookupds: HTTP addresses of lookup daemons, as host:port or as a URL. All are
            asked, then again every lookup_interval (60; varied by a tenth). A daemon
            that none lists any more is forgotten once its connection has ended; a
            lookupd that does not answer counts for what it said last.
        handler: called with a Message. What it returns does not matter, unless it is
            ANSWER_LATER; that, or raising AnswerLater, keeps the message in flight.
            Any other exception requeues the message, and is logged.
        batch_handler: called with a list of Messages, at least one. Returning
            finishes those that it did not answer itself, raising requeues them.
        max_in_flight: how many messages may be delivered and unanswered, over all
            connections, which share it evenly (200). With more connections than
            that, credit goes around, 0.02 s a turn. It can be exceeded for a moment
            when credit moves between connections.
        concurrency: how many handlers run at once, each in a thread (1). With 1, the
            messages of one daemon are handled in the order in which they came.
        batch_size: the most messages that a batch_handler is given (200).
        batch_wait: how long a batch that is not full waits for more (0). It is
            handed over sooner when all credit is used up.
        requeue_delay, max_requeue_delay: a message whose handler failed comes back
            after requeue_delay × attempts, max_requeue_delay at most (5, 300).
        backoff, max_backoff: if max_backoff is not 0 (which it is), a failure has the
            whole reader pause, as NSQ's clients do: for backoff (1), twice as long
            after each further failure, max_backoff at most. Then it takes one message
            at a time until as many have succeeded as had failed.
        max_attempts: if not 0 (which it is), how often a message is handled. One
            delivered more often is given to on_give_up, and finished when that
            returns, requeued when it raises. Without on_give_up it is logged and
            finished.
        touch_for: for how long after its delivery a message whose handler runs is
            kept with TOUCH, as far as the daemon's longest allows; 0 stands for as
            long as it allows (900); below zero, messages are never touched.
        shutdown_timeout: how long close() waits for handlers, for messages that were
            kept, and for daemons to say goodbye (10). Handlers that still run then
            are left behind, and logged; what they had is delivered again.
        msg_timeout: asked of the daemon, at least 1; 0 leaves it to the daemon (60).
        sample_rate: percent of messages to receive, 1 to 99; 0 stands for all.
        start: where a channel begins that subscribing makes: "latest", or "earliest",
            with the first message that the topic keeps. Only Millrace's daemons know
            the latter; on others that is logged, and has no effect.
        on_handled: called with a Handled after each message, or batch, on the thread
            that handled it.

    And those of connections, which Writer has as well: dial_timeout (5), to connect
    and be greeted, and for a lookupd's answer; write_timeout (10); heartbeat_interval,
    at least 1, 0 leaves it to the daemon (30); tls, True or an ssl.SSLContext;
    compression, "snappy", "deflate" or None; deflate_level, 1 to 9 (6); auth_secret;
    region, zone; client_id, hostname, user_agent; logger, "millrace"'s unless given.

    Raises ValueError, with all complaints at once, or TypeError.
    """

    def _setup(self) -> None:
        for name in ("handler", "batch_handler", "on_give_up"):
            if inspect.iscoroutinefunction(getattr(self._settings, name)):
                raise TypeError(f"{name} is a coroutine function: that is for AsyncReader")
        self._core = _Core(self._settings)
        # The program's end, and a reader that was forgotten, are close() as well.
        patience = self._settings.shutdown_timeout + 2 * _GOODBYE
        self._thread = LoopThread(f"Reader of {self.topic}/{self.channel}", self._core.end, patience)
        weakref.finalize(self, self._thread.abandon).atexit = False
        self._beginning = threading.Lock()
        self._runner: int | None = None  # the thread that is in run
        self._pullers: set[int] = set()  # threads that wait for a message
        self._pulled: dict[int, Message] = {}  # what a thread has pulled last

    def run(self) -> None:
        """Consume until close() is called, giving messages to the handler.

        It connects again whenever a daemon comes back. KeyboardInterrupt (Ctrl-C) is
        close(): run returns when everything is in order; a second one is raised. For
        SIGTERM, call close() in a signal handler. A reader runs only once:
        RuntimeError. Called after close(), it returns.
        """
        self._check_use(pulling=False)
        self._note_run()
        self._runner = threading.get_ident()
        try:
            try:
                if threads := self._begin():
                    threads.start()
                    self._core.wait()
            except KeyboardInterrupt:
                self._core.stop()
                self._core.wait()
        finally:
            self._runner = None
            self._finish()

    def __iter__(self) -> Iterator[Message]:
        """Pull messages one by one, each to be answered with its finish() or requeue().

        It ends after close(). Many threads may iterate at once. While the loop's body
        runs, its message is kept with TOUCH.
        """
        self._check_use(pulling=True)
        return self._pull()

    def _pull(self) -> Iterator[Message]:
        thread, slot = threading.get_ident(), Running()
        self._pullers.add(thread)
        try:
            threads = self._begin()
        finally:
            self._pullers.discard(thread)
        if threads is None:
            return
        threads.handling.slots.add(slot)
        try:
            while True:
                self._pulled.pop(thread, None)
                self._pullers.add(thread)
                try:
                    message = threads.next(slot)
                finally:
                    self._pullers.discard(thread)
                if message is None:
                    break
                self._pulled[thread] = message
                yield message
        finally:
            threads.handling.slots.discard(slot)
        self._core.wait()

    def _begin(self) -> Threads | None:
        """Connect, unless that was done; return None if closed."""
        with self._beginning:
            if self._closed:
                return None
            if self._core.threads is None:
                self._thread.run(self._core.begin(self._paused))
        if self._closed:  # by a signal's handler, meanwhile
            self._core.stop()
        return self._core.threads

    def close(self) -> None:
        """End, in good order, and return when nothing of the reader's is left.

        Daemons are asked for nothing more; messages that no handler has begun are
        given back; handlers, and messages that were kept, are waited for as
        shutdown_timeout allows. A message that this thread has pulled and not
        answered is requeued. Called by a handler, or by a signal's handler while its
        thread is in run() or waits for a message, it only begins this.
        """
        self._closed = True
        me = threading.get_ident()
        if (pulled := self._pulled.pop(me, None)) is not None:
            pulled.requeue()
        self._core.stop()
        threads = self._core.threads
        if me == self._runner or me in self._pullers or (threads is not None and threads.has(me)):
            return
        with self._beginning:  # in another thread, which has not seen _closed
            self._core.stop()
        try:
            self._core.wait()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._thread.stop()
        if self._core.threads is not None:
            self._core.threads.reap()

    def pause(self) -> None:
        """Ask for no more messages, until resume(). What has been delivered is handled."""
        self._set_paused(True)

    def resume(self) -> None:
        """Ask for messages again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        self._core.call(lambda consumer: consumer.pause(paused))

    def seek(self, place: str | datetime.datetime) -> None:
        """Move the channel, on every daemon that is connected, to place.

        That is "earliest", "latest", a message's ID or a time (RFC 3339, or a
        datetime with its time zone): what was published since is delivered, again if
        need be, and what lies before is not. Messages that are in flight can no
        longer be finished. It waits, dial_timeout at most, for daemons that were not
        yet tried.

        Raises SeekError, which names the daemons that do not know it, as those that
        are not Millrace's, or that refused; ClosedError after close().
        """
        where = _place(place)
        if self._begin() is None or self._core.consumer is None:
            raise ClosedError("the reader is closed")
        self._thread.run(self._core.consumer.seek(where))

    def stats(self) -> ReaderStats:
        """What was done so far."""
        return self._core.consumer.stats() if self._core.consumer is not None else _NOTHING

    def starved(self) -> bool:
        """Whether no daemon can send more until messages are answered. A program that
        answers many together should do so then."""
        return self._core.consumer is not None and self._core.consumer.starved()

    def __enter__(self: Sync) -> Sync:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Core:
    """What a Reader's threads share. It does not know the Reader, which may be
    forgotten while they run."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self.consumer: Consumer | None = None
        self.threads: Threads | None = None
        self.life: concurrent.futures.Future[None] | None = None

    async def begin(self, paused: bool) -> None:
        """Runs on the loop."""
        self._loop = asyncio.get_running_loop()
        ready = Ready(self._settings.batch_size, self._settings.batch_wait)
        self.consumer = Consumer(self._settings, ready, paused=paused)
        threads = Threads(self.consumer, ready)
        self.life = asyncio.run_coroutine_threadsafe(self.consumer.live(threads), self._loop)
        self.threads = threads

    def call(self, f: Callable[[Consumer], None]) -> None:
        """Have f called on the loop, if that runs."""
        if self._loop is not None and self.consumer is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(f, self.consumer)

    def stop(self) -> None:
        self.call(Consumer.stop)

    def wait(self) -> None:
        """Wait for the end. Raises what was wrong, if something was."""
        if self.life is not None:
            self.life.result()

    async def end(self) -> None:
        """stop() and wait(), on the loop."""
        if self.life is not None and self.consumer is not None:
            self.consumer.stop()
            await asyncio.wait({asyncio.wrap_future(self.life)})
