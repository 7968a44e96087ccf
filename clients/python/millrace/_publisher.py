"""Takes batches from an intake to daemons, and says what became of them. Runs on
one event loop; all of it is called there."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Union

from ._errors import ClosedError, MillraceError, PublishError, RefusedError, ServerError, UncertainError
from ._batch import Batch, Waiter
from ._intake import Intake
from ._lane import Lane
from ._outcome import Verdict, closing_error, failed, judge, refusal, uncertain
from ._pool import Pool
from ._spool import Spool
from ._spooler import Replay, Spooler
from ._writer_settings import Published, WriterSettings, WriterStats

#: Pauses before a batch that a daemon failed to store is tried again, in seconds:
#: they double, and each is shortened at random by up to a half.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 2.0

Tell = Callable[[Batch, Union[PublishError, None]], None]


class Publisher:
    """tell is given each batch that came to its end, with the error or None; it has
    the intake's finish called for it."""

    def __init__(self, intake: Intake, settings: WriterSettings, spool: Spool | None, tell: Tell) -> None:
        self._intake = intake
        self._settings = settings
        self._log = settings.connection.logger
        self._tell = tell
        self.loop = asyncio.get_running_loop()
        self._pool = Pool(settings, self, self._unreachable)
        self._spooler = None if spool is None else Spooler(spool, self._log)
        self._ready: deque[Batch] = deque()  # to be sent
        self._resting: dict[Batch, asyncio.TimerHandle] = {}  # to be ready later
        self._linger: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._closing = False
        self._published = self._refused = self._unavailable = self._uncertain = 0
        self._retried = self._batches = 0

    def start(self) -> None:
        if self._spooler is not None:
            self._spooler.start(self)
        self._pool.start()
        self.pump()

    def pump(self) -> None:
        """Sends what is to be sent now."""
        self._take(False)
        self._dispatch()
        if not self._ready and self._pool.idle:
            self._take(True)
            self._dispatch()

    def give_up(self, waiter: Waiter, why: Exception) -> None:
        """Tells one that waits no longer how its publish stands; why says what it
        waited for."""
        messages = waiter.batch.count if waiter.batch is not None and waiter.batch.whole else 1
        batch = self._intake.withdraw(waiter)
        if batch is None:
            return  # it was told
        if batch.out:
            error: PublishError = uncertain(batch, why)
        else:
            error = failed(batch, batch.why or self._pool.last_error or why, f" ({why})")
        self._count(error, messages)
        waiter.tell(error)
        if not batch.items:
            self._forget(batch)

    async def flush(self, timeout: float | None) -> bool:
        """Waits until all that was accepted so far is finished; returns whether it is."""
        reached = self.loop.create_future()

        def reach() -> None:
            if not reached.done():
                reached.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # a callback has outlived the loop: nobody waits any more
                self.loop.call_soon_threadsafe(reach)

        self._intake.mark(tell)
        done, _ = await asyncio.wait({reached}, timeout=timeout)
        return bool(done)

    async def close(self, timeout: float) -> TimeoutError | None:
        """Ends everything: what is not answered within timeout fails, but what is not
        sent is spooled, if there is a spool. The intake is closed already. Returns an
        error if messages are lost, or may be."""
        await self.flush(timeout)
        self._closing = True
        lost = self._unavailable, self._uncertain
        await self._pool.end()
        self._take(True)
        for batch in [*self._resting, *self._ready]:
            self._forget(batch, finish=False)
            if self._spooler is not None and batch.replay is None and batch.items:
                self._spooler.put(batch)
            elif batch.replay is None:
                self._unstored(batch, batch.why or self._pool.last_error or ClosedError("the writer was closed"))
        if self._spooler is not None:
            await self._spooler.end()
        for timer in (self._linger, self._expiry):
            if timer is not None:
                timer.cancel()
        return closing_error(self._unavailable - lost[0], self._uncertain - lost[1])

    def stats(self) -> WriterStats:
        messages, size = self._intake.in_flight
        return WriterStats(
            connections=len(self._pool.lanes),
            in_flight=messages,
            in_flight_bytes=size,
            spooled=self._spooler.count if self._spooler else 0,
            published=self._published,
            refused=self._refused,
            unavailable=self._unavailable,
            uncertain=self._uncertain,
            retried=self._retried,
            batches=self._batches,
        )

    # What lanes say.

    def stored(self, lane: Lane, batch: Batch) -> None:
        batch.out = False
        self._end(batch, None)

    def refused(self, lane: Lane, batch: Batch, error: ServerError) -> None:
        batch.out = False
        verdict = judge(error, batch, lane.whole_batches)
        if verdict is Verdict.REFUSED:
            self._end(batch, refusal(batch, error))
        elif verdict is Verdict.DIVISIBLE and self._settings.retry_for == 0 and batch.replay is None:
            self._unstored(batch, error)
        elif verdict is Verdict.DIVISIBLE:
            self._ready.extendleft([self._halve(batch), batch])
        elif verdict is Verdict.UNCERTAIN:
            self._doubt([batch], error)
        elif error.draining:
            self._again([batch], error)
        else:
            self._rest(batch, error)

    def broken(self, lane: Lane, unsent: list[Batch], uncertain: list[Batch], why: Exception) -> None:
        self._again(unsent, why)
        self._doubt(uncertain, why)

    # What the spooler says.

    def send_first(self, batch: Batch) -> None:
        self._ready.appendleft(batch)
        self._dispatch()

    def spooled(self, batch: Batch, error: Exception | None) -> None:
        batch.out = False
        if error is None:
            batch.address = ""
            self._end(batch, None)
        else:
            self._log.error("%d messages for %s cannot be spooled: %s", batch.count, batch.topic, error)
            self._unstored(batch, error)

    # The rest.

    def _take(self, everything: bool) -> None:
        """Takes batches from the intake. Open ones, without everything, are taken
        within the linger."""
        batches, left = self._intake.collect(everything)
        self._queue(batches)
        if left and self._linger is None:
            self._linger = self.loop.call_later(self._settings.linger, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        self._take(True)
        self._dispatch()

    def _queue(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            if not batch.items:  # all were withdrawn
                self._intake.finish(batch)
            elif self._spooler is not None and self._spooler.active:
                self._spooler.put(batch)
            else:
                self._ready.append(batch)

    def _dispatch(self) -> None:
        while self._ready and not self._closing:
            lane = self._choose(self._ready[0])
            if lane is None:
                break
            self._send(lane, self._ready.popleft())
        if self._ready and self._settings.retry_for == 0 and not self._pool.lanes:
            # Its only attempt is not put off for the failures of others.
            self._pool.try_now(max((batch.born for batch in self._ready if batch.replay is None), default=-math.inf))
        patience = self._patience
        if self._ready and self._expiry is None and patience is not None:
            births = [batch.born for batch in self._ready if batch.replay is None]
            if births:
                left = min(births) + patience - time.monotonic()
                self._expiry = self.loop.call_later(max(left, 0.001), self._expire)

    def _choose(self, batch: Batch) -> Lane | None:
        """The lane with the fewest bytes unanswered, of the nearest, if possible of a
        daemon on which the batch has not failed last."""
        lanes = [lane for lane in self._pool.lanes if not lane.gone]
        if not lanes:
            return None

        def rank(lane: Lane) -> tuple[bool, int]:
            return batch.failures > 0 and lane.address == batch.address, lane.tier

        best = min(map(rank, lanes))
        free = [lane for lane in lanes if rank(lane) == best and not lane.full]
        return min(free, key=lambda lane: (lane.unanswered, lane.used)) if free else None

    def _send(self, lane: Lane, batch: Batch) -> None:
        batch.address = lane.address
        over = lane.over_limit(batch)
        if over is not None:  # the daemon would close the connection over it
            self.refused(lane, batch, over)
            return
        if batch.failures:
            self._retried += batch.count
        self._batches += 1
        lane.used = self._batches
        batch.out = True
        lane.send(batch)

    def _halve(self, batch: Batch) -> Batch:
        if isinstance(batch.replay, Replay):
            batch.replay.left += 1
            return batch.halve()
        return self._intake.split(batch)

    @property
    def _patience(self) -> float | None:
        """How long a batch waits for a daemon, in seconds."""
        limits = [self._settings.retry_for or None, self._settings.spool_after if self._spooler else None]
        return min((limit for limit in limits if limit is not None), default=None)

    def _expire(self) -> None:
        """Looks after batches that wait for a daemon."""
        self._expiry = None
        ready, self._ready = self._ready, deque()
        for batch in ready:
            if self._keep(batch, batch.why or self._pool.last_error or ClosedError("no daemon was reached")):
                self._ready.append(batch)
        self._dispatch()

    def _keep(self, batch: Batch, why: Exception) -> bool:
        """Whether a batch that is not stored is to be tried again; else it is spooled,
        or has failed."""
        age = time.monotonic() - batch.born
        retry_for = self._settings.retry_for
        if batch.replay is not None or self._closing:
            return True
        if self._spooler is not None and (self._spooler.active or age >= self._settings.spool_after):
            self._spooler.put(batch)
            return False
        if retry_for is not None and age >= retry_for and (retry_for > 0 or batch.failures):
            self._unstored(batch, why)
            return False
        return True

    def _again(self, batches: list[Batch], why: Exception) -> None:
        """Has batches that are certainly not stored sent before all others."""
        self._ready.extendleft(batch for batch in reversed(batches) if self._retry(batch, why))

    def _rest(self, batch: Batch, why: Exception) -> None:
        """Has a batch that is certainly not stored tried again, after a pause."""
        if not self._retry(batch, why):
            return
        pause = min(_FIRST_PAUSE * 2.0 ** min(batch.failures, 10), _LONGEST_PAUSE) * random.uniform(0.5, 1)
        self._resting[batch] = self.loop.call_later(pause, self._rested, batch)

    def _rested(self, batch: Batch) -> None:
        del self._resting[batch]
        self._ready.appendleft(batch)
        self._dispatch()

    def _retry(self, batch: Batch, why: Exception) -> bool:
        batch.out = False
        batch.failures += 1
        batch.why = why
        if batch.replay is None:
            self._intake.purge(batch)
            if not batch.items:
                self._intake.finish(batch)
                return False
        return self._keep(batch, why)

    def _doubt(self, batches: list[Batch], why: Exception) -> None:
        for batch in reversed(batches):
            batch.out = False
            batch.doubt = why
            if batch.replay is not None or self._settings.retry_uncertain and not self._closing:
                self._rest(batch, why)
            else:
                self._end(batch, uncertain(batch, why))

    def _unreachable(self, why: Exception, refuser: tuple[str, MillraceError] | None) -> None:
        """A daemon could not be had, or none is known. That ends what is tried only
        once; and everything, if refuser and all others say that we have no right to be
        there."""
        if self._settings.retry_for != 0 and refuser is None:
            return
        self._take(True)  # what gathers has waited for this daemon, too
        ready, self._ready = self._ready, deque()
        for batch in ready:
            if batch.replay is not None:
                self._ready.append(batch)
            elif refuser is not None:
                batch.address = batch.address if batch.doubt else refuser[0]
                self._end(batch, refusal(batch, refuser[1]))
            elif not self._pool.exhausted(batch.born):
                self._ready.append(batch)
            elif self._spooler is not None:
                self._spooler.put(batch)
            else:
                self._unstored(batch, why)

    def _unstored(self, batch: Batch, why: Exception) -> None:
        self._end(batch, failed(batch, why))

    def _end(self, batch: Batch, error: PublishError | None) -> None:
        if isinstance(batch.replay, Replay):
            if error is not None:
                self._log.error("%d spooled messages are dropped: %s", batch.count, error)
            batch.replay.ended()
            return
        self._count(error, batch.count)
        if self._settings.on_publish is not None:
            took = time.monotonic() - batch.born
            try:
                self._settings.on_publish(
                    Published(batch.topic, batch.address, batch.count, batch.bytes, took, error)
                )
            except BaseException:  # it must not end the loop
                self._log.exception("on_publish failed")
        self._tell(batch, error)

    def _count(self, error: PublishError | None, messages: int) -> None:
        if error is None:
            self._published += messages
        elif isinstance(error, RefusedError):
            self._refused += messages
        elif isinstance(error, UncertainError):
            self._uncertain += messages
        else:
            self._unavailable += messages

    def _forget(self, batch: Batch, finish: bool = True) -> None:
        """Takes a batch out of what is to be sent."""
        timer = self._resting.pop(batch, None)
        if timer is not None:
            timer.cancel()
        elif batch in self._ready:
            self._ready.remove(batch)
        else:
            return  # the intake has it, and will bring it empty
        if finish:
            self._intake.finish(batch)
