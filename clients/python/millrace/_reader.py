"""A Reader for programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

from ._consumer import Consumer
from ._errors import ClosedError
from ._handling import Running
from ._loop import LoopThread
from ._message import Message, ReaderStats
from ._reader_base import NOTHING, ReaderBase, parse_place
from ._reader_settings import ReaderSettings
from ._ready import Ready
from ._threads import SIGNALS, Threads

# _GOODBYE is how long, in seconds, daemons may take to close.
_GOODBYE = 1.0

Self = TypeVar("Self", bound="Reader")


class Reader(ReaderBase):
    """Consumes one channel of one topic from every daemon that has it.

    There are three ways to use it. A handler is called with each message: when it
    returns, the message is finished; when it raises, it is delivered again later.

        Reader("orders", "mail", addresses=["127.0.0.1:4150"], handler=send_mail).run()

    A batch_handler is called with a list of messages, which is faster. Or messages are
    pulled, and answered by whoever pulls them:

        with Reader("orders", "mail", lookupds=["127.0.0.1:4161"]) as reader:
            for message in reader:
                send_mail(message)
                message.finish()

    A message is delivered until it was finished: when a program dies, a connection
    breaks or a handler takes longer than the daemon allows, it comes again, to any of
    the channel's readers. Handlers must bear that.

    It needs no event loop and touches none. Connections live in a thread of their own,
    so that a handler that blocks stops no heartbeat. All methods may be called from
    any thread.

    Settings; times are in seconds. topic, channel, and addresses or lookupds must be
    given:

    topic, channel
        Names: 1 to 64 of ".a-zA-Z0-9_-", with #ephemeral at the end for a channel
        that should not outlive its last reader.
    addresses, lookupds
        One or more queue daemons (host:port of their TCP side), all of which are
        consumed from, and lookup daemons (host:port of their HTTP side, or URLs), whose
        daemons are added. Lookupds are asked every lookup_interval (60; varied by a
        tenth). A daemon that none lists any more is forgotten once its connection has
        ended; a lookupd that does not answer counts for what it said last.
    handler
        Called with a Message. What it returns does not matter, unless it is
        ANSWER_LATER: that, or raising AnswerLater, keeps the message in flight. Any
        other exception is logged, and requeues the message.
    batch_handler
        Called with a list of Messages, at least one. When it returns, those that it
        did not answer itself are finished; when it raises, they are requeued.
    max_in_flight
        How many messages may be delivered and unanswered (200), over all connections.
        It goes to those that have traffic, evenly; an idle connection keeps one, or, if
        they are too many for that, gets one in turns, so that a message waits for about
        a second at most while handlers are free. It can be exceeded for a moment when
        credit moves.
    concurrency
        How many handlers run at once, each in a thread (1). With 1, the messages of
        one daemon are handled in the order in which they came.
    batch_size, batch_wait
        The most messages that a batch_handler is given (200), and how long a batch
        that is not full waits for more (0), up to half of the daemon's message
        timeout. It is handed over sooner when hardly any credit is left.
    requeue_delay, max_requeue_delay
        A message whose handler failed comes back after requeue_delay × attempts (5),
        max_requeue_delay at most (300).
    backoff, max_backoff
        If max_backoff is not 0, which it is unless set, a failure has the whole reader
        pause, as NSQ's clients do: for backoff (1), twice as long after each further
        failure, max_backoff at most. Then it takes one message at a time until as many
        have succeeded as had failed.
    max_attempts, on_give_up
        If max_attempts is not 0, which it is unless set, a message that was delivered
        more often is given to on_give_up, and finished when that returns, requeued
        when it raises. Without on_give_up it is logged and finished.
    touch_for
        For how long after its delivery a message whose handler runs is kept with
        TOUCH; 0 for as long as the daemon allows (900); below 0, not at all.
    shutdown_timeout
        How long close() waits for handlers, for messages that were kept, and for
        daemons to say goodbye (10). Handlers that still run then are left behind, and
        logged; what they had is delivered again.
    msg_timeout
        After how long the daemon takes back a message that is neither answered nor
        touched, at least 1; 0 leaves it to the daemon (60).
    sample_rate
        Percent of the messages to receive, 1 to 99; 0 for all.
    output_buffer_timeout
        For how long a daemon may hold a message back that leaves credit unused, to
        send it with others, at least 0.001 (0.025, the shortest that an nsqd allows unless it
        is set otherwise); 0 leaves it to the daemon (0.25). A daemon refuses a Reader that
        asks for what it does not allow. Millrace's daemons hold nothing back.
    start
        Where a channel begins that subscribing makes: "latest", or "earliest", with
        the first message that the topic keeps. Only Millrace's daemons know the
        latter; on others that is logged, and has no effect.
    on_handled
        Called with a Handled for each message, or batch, on the thread that handled.
    dial_timeout, write_timeout, heartbeat_interval, tls, compression, deflate_level,
    auth_secret, region, zone, client_id, hostname, user_agent, logger
        As Writer's. region and zone are told to daemons, which may serve near readers
        first.

    Raises ValueError, with all complaints at once, for settings that cannot be right. A
    reader that was in use in a process that forks cannot be used in its child.
    """

    def _prepare(self) -> None:
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
        self._thread.check_fork()
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
        if self._thread.forked:
            return  # what there was stayed with the other process
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
        where = parse_place(place)
        if self._begin() is None or self._core.consumer is None:
            raise ClosedError("the reader is closed")
        self._thread.run(self._core.consumer.seek(where))

    def stats(self) -> ReaderStats:
        """What was done so far."""
        return self._core.consumer.stats() if self._core.consumer is not None else NOTHING

    def starved(self) -> bool:
        """Whether no daemon can send more until messages are answered. A program that
        answers many together should do so then."""
        return self._core.consumer is not None and self._core.consumer.starved()

    def __enter__(self: Self) -> Self:
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
            while not concurrent.futures.wait([self.life], SIGNALS).done:
                pass
            self.life.result()

    async def end(self) -> None:
        """stop() and wait(), on the loop."""
        if self.life is not None and self.consumer is not None:
            self.consumer.stop()
            await asyncio.wait({asyncio.wrap_future(self.life)})
