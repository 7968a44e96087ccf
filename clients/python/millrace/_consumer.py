"""What a Reader does on the loop: it finds daemons, keeps connected with them,
divides its credit among them, and parts from them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from . import _connection, _wire
from ._credit import divide
from ._discovery import Lookups, Producer
from ._errors import ConnectionFailed, MillraceError, SeekError, ServerError
from ._line import Line, Outbox
from ._loop import within
from ._message import Message, ReaderStats
from ._pace import Backoff, Retry, requeue_delay, vary
from ._ready import Ready
from ._reader_settings import ReaderSettings

# LINGER is how long, in seconds, a daemon is listened to once everything is said.
LINGER = 1.0


class Workers(Protocol):
    """Who handles what a Consumer receives."""

    def running(self) -> list[list[Message]]:
        """The messages whose handlers run; one list for each call."""

    async def join(self, deadline: float) -> None:
        """Wait for the handlers to end, until deadline; then leave or cancel them."""


class Consumer:
    """A Reader on its loop. All methods belong to the loop."""

    def __init__(self, settings: ReaderSettings, ready: Ready, paused: bool = False) -> None:
        self.settings = settings
        self.log = settings.connection.logger
        self.outbox = Outbox(asyncio.get_running_loop(), self._flushed)
        self.lines: tuple[Line, ...] = ()  # replaced, never changed: other threads read it
        self.backoff = Backoff(settings.backoff, settings.max_backoff)
        self._loop = asyncio.get_running_loop()
        self._ready = ready
        ready.used_up = self.used_up
        self._listed: set[str] = set()  # addresses that are given or listed
        self._past = [0, 0, 0, 0]  # received, finished, requeued, expired of lines that are gone
        self._keeping: dict[str, asyncio.Task[None]] = {}  # by address
        self._tasks: set[asyncio.Task[None]] = set()
        self._untried = {""}  # addresses to be tried for the first time; "" is the first discovery
        self._tried = asyncio.Event()
        self._joined = asyncio.Event()  # a line has come
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._paused = paused
        self._calm = 0.0  # until when credit is not to be divided anew
        self._dividing: asyncio.TimerHandle | None = None  # because of a change
        self._again: asyncio.TimerHandle | None = None  # because of time

    # Life.

    async def live(self, workers: Workers) -> None:
        """Consume until stop() is called, and part in good order."""
        discovery = self._spawn(self._discover())
        self._spawn(self._touch(workers))
        try:
            await self._stopping.wait()
            deadline = time.monotonic() + self.settings.shutdown_timeout
            discovery.cancel()
            await self._part(workers, deadline)
        finally:
            await self._end()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stopping.set()

    def fail(self, error: BaseException) -> None:
        """End because of a fault of our own, which live() raises."""
        self._failure = self._failure or error
        self.stop()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _part(self, workers: Workers, deadline: float) -> None:
        connected = {line.address for line in self.lines}
        for address, task in self._keeping.items():
            if address not in connected:
                task.cancel()
        # CLS goes first: what is given back before it would be delivered to us
        # again.
        for line in self.lines:
            line.close()
        now = time.monotonic()
        for message in self._ready.close():
            if message._delivery.deadline > now:
                message.requeue(0)
            else:
                message._delivery.line.drop(message)
        await asyncio.gather(workers.join(deadline), *(self._settle(line, deadline) for line in self.lines))

    async def _settle(self, line: Line, deadline: float) -> None:
        try:
            await within(max(0.0, deadline - time.monotonic()), line.settled.wait())
        except asyncio.TimeoutError:
            self.log.warning("%s: %d messages were not answered in time; it delivers them again", line.address, line.in_flight)
        self.outbox.flush()
        await line.part(LINGER)

    async def _end(self) -> None:
        for handle in (self._dividing, self._again):
            if handle is not None:
                handle.cancel()
        for line in self.lines:
            line.connection.fail(ConnectionFailed("the reader has ended"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Daemons.

    async def _discover(self) -> None:
        """Keep the daemons those of addresses and those that lookupds list."""
        s = self.settings
        lookups = Lookups.of_topic(s.lookupds, s.topic, s.connection)
        pause = 1.0
        self._meet([])
        while True:
            found, _ = await lookups.ask(self._meet)
            self._meet(found)
            self._note_tried("")
            if not s.lookupds:
                return
            # With nothing to consume from, a topic that is about to be created
            # should not have to wait for its first consumer.
            known = s.addresses or found
            wait = s.lookup_interval if known else min(pause, s.lookup_interval)
            pause = 1.0 if known else 2 * wait
            await asyncio.sleep(vary(wait, 0.1))

    def _meet(self, found: list[Producer]) -> None:
        """Take note of which daemons are listed, and begin to consume from those that
        are new."""
        self._listed = {*self.settings.addresses, *(p.address for p in found)}
        for address in self._listed:
            if address not in self._keeping:
                self._untried.add(address)
                self._keeping[address] = self._spawn(self._keep(address))

    def _note_tried(self, address: str) -> None:
        self._untried.discard(address)
        if not self._untried:
            self._tried.set()

    async def _keep(self, address: str) -> None:
        """Consume from one daemon, again and again, until it is no longer listed.

        That the daemon is away is said once, however long it stays away.
        """
        retry, level = Retry(), logging.WARNING
        while not self.stopping:
            began, line = time.monotonic(), Line(self, address)
            try:
                await self._subscribe(line)
                what, level = "connection lost", logging.WARNING
                reason = await self._consume(line)
            except Exception as error:
                what, reason = "cannot connect", error
                if not isinstance(error, (MillraceError, OSError)):  # a fault of ours must not end the others
                    self.log.exception("%s: cannot connect", address)
            self._note_tried(address)
            if self.stopping:
                break
            delay = retry.next(time.monotonic() - began)
            self.log.log(level, "%s: %s, trying again in %.1f s: %s", address, what, delay, reason)
            level = logging.DEBUG
            await asyncio.sleep(delay)
            if address not in self._listed:
                break
        del self._keeping[address]

    async def _subscribe(self, line: Line) -> None:
        s = self.settings
        extension = {"channel_start": s.start} if s.start != "latest" else {}
        connection = await _connection.connect(
            line.address, s.connection, line.on_frames, line.on_lost,
            msg_timeout=s.msg_timeout, sample_rate=s.sample_rate, output_buffer_timeout=s.output_buffer_timeout,
            extension=extension,
        )
        try:
            if extension and connection.extension is None:
                self.log.warning("%s is no Millrace daemon: start=%r has no effect there", line.address, s.start)
            await line.subscribe(connection, s.topic, s.channel, s.connection.dial_timeout)
        except BaseException:
            connection.fail(ConnectionFailed("not subscribed"))
            raise

    async def _consume(self, line: Line) -> Exception:
        """Receive on line, which is subscribed, until it is lost. Return why."""
        self.lines += (line,)
        self._joined.set()
        self._note_tried(line.address)
        self._note_ration()
        self.log.info("%s: subscribed to %s/%s", line.address, self.settings.topic, self.settings.channel)
        if self.stopping:
            line.close()
        try:
            return await line.ended
        finally:
            self.lines = tuple(l for l in self.lines if l is not line)
            line.connection.fail(ConnectionFailed("the reader has ended"))
            counts = (line.received, line.finished, line.requeued, line.expired)
            self._past = [a + b for a, b in zip(self._past, counts)]
            self._note_ration()

    # Messages.

    def delivered(self, messages: list[Message]) -> None:
        if not self._ready.push(messages):
            for m in messages:
                m.requeue(0)

    def moved(self, line: Line) -> None:
        self._ready.forget(line)

    def requeue_delay(self, attempts: int) -> float:
        return requeue_delay(self.settings.requeue_delay, self.settings.max_requeue_delay, attempts)

    def _flushed(self, lines: list[Line]) -> None:
        for line in lines:
            line.note_answers()

    # Credit.

    def note_change(self) -> None:
        """Have credit divided anew, soon.

        Whatever happens at once is looked at together, and looking at a thousand lines
        must not become all that a Reader does.
        """
        if self._dividing is None and not self.stopping:
            self._dividing = self._loop.call_later(self._calm - time.monotonic(), self._divide)

    def _note_ration(self) -> None:
        """Have it done at once, because there is more or less to divide."""
        if not self.stopping:
            self._divide()

    def _divide(self) -> None:
        for timer in (self._dividing, self._again):
            if timer is not None:
                timer.cancel()
        self._dividing = self._again = None
        if self.stopping:
            return
        lines, now = self.lines, time.monotonic()
        total = 0 if self._paused else self.backoff.limit(self.settings.max_in_flight, now)
        shares = [line.share() for line in lines]
        again = divide(shares, total, now)
        for line, share in zip(lines, shares):
            line.set_ready(share.ready)
        until = self.backoff.until
        if now < until and (again is None or until < again):
            again = until
        if again is not None:
            self._again = self._loop.call_later(again - now, self._divide)
        # Where credit goes around every millisecond counts.
        crowded = 2 * len(lines) > total
        self._calm = now + (0.001 if crowded else 0.005) + len(lines) * 20e-6

    def pause(self, paused: bool) -> None:
        self._paused = paused
        self._note_ration()

    def failed(self) -> None:
        """A handler failed. Called before its message is given back, or that would come
        again at once."""
        if self.backoff.failed(time.monotonic()):
            self._note_ration()

    def succeeded(self) -> None:
        if self.backoff.succeeded(time.monotonic()):
            self._note_ration()

    # Touching.

    async def _touch(self, workers: Workers) -> None:
        """Say TOUCH for the messages of running handlers, before half of their
        timeout is over."""
        longest = self.settings.touch_for
        if longest < 0:
            return
        touched: dict[Message, float] = {}  # the first one of each call, and when
        while True:
            interval = min((line.timeout / 8 for line in self.lines), default=None)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(interval, self._joined.wait())
            self._joined.clear()
            interval = interval or 0.0
            now, before, touched = time.monotonic(), touched, {}
            for messages in workers.running():
                first = messages[0]
                delivery = first._delivery
                last = before.get(first, delivery.at)
                if now + interval >= last + delivery.line.timeout / 2:
                    last = now
                    self._touch_all(messages, now, longest)
                touched[first] = last

    @staticmethod
    def _touch_all(messages: list[Message], now: float, longest: float) -> None:
        for m in messages:
            if now < m._delivery.at + (longest or m._delivery.line.longest):
                m.touch()

    # Questions.

    async def seek(self, place: str) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(self.settings.connection.dial_timeout, self._tried.wait())
        results = await asyncio.gather(*(self._seek(line, place) for line in self.lines))
        wrong = [r for r in results if r]
        if not results:
            raise SeekError(f"seek to {place} failed: no daemon is connected")
        if wrong:
            raise SeekError(f"seek to {place} failed on {len(wrong)} of {len(results)} daemons: " + "; ".join(wrong))

    async def _seek(self, line: Line, place: str) -> str:
        """Return what went wrong."""
        if not (line.connection.extension or {}).get("seek"):
            return f"{line.address} does not know SEEK: it is no Millrace daemon, or an old one"
        try:
            timeout = self.settings.connection.dial_timeout
            await line.ask(_wire.seek(place), _wire.OK, timeout, lambda: self.moved(line))
        except (ServerError, ConnectionFailed) as error:
            return f"{line.address}: {error}"
        return ""

    def stats(self) -> ReaderStats:
        """May be called from any thread."""
        with self.outbox.lock:
            lines = self.lines
            sums = list(self._past)
            for line in lines:
                counts = (line.received, line.finished, line.requeued, line.expired)
                sums = [a + b for a, b in zip(sums, counts)]
            in_flight = sum(line.in_flight for line in lines)
        return ReaderStats(len(lines), in_flight, *sums)

    def starved(self) -> bool:
        """Whether no daemon can send more until messages are answered. May be called
        from any thread."""
        return all(line.in_flight >= line.ready for line in self.lines)

    def used_up(self) -> bool:
        """Whether the daemons that have sent something can send next to nothing more
        until messages are answered; others must not make these wait. May be called from
        any thread."""
        lines = [line for line in self.lines if line.in_flight]
        left = sum(max(line.ready - line.in_flight, 0) for line in lines)
        return left <= sum(line.ready for line in lines) // 8
