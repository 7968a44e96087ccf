"""Which daemons a publisher is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._connection import connect
from ._errors import ConnectionFailed, MillraceError, SecretMissing, ServerError
from ._loop import within
from ._lane import Lane, Outcomes
from ._writer_settings import WriterSettings

if TYPE_CHECKING:
    from ._discovery import Lookups

#: Pauses between attempts to connect to one daemon, in seconds: they double, and
#: each is shortened at random by up to a half.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0

#: The farthest tier: of daemons of other regions.
_FAR = 2

#: How rarely lookupds are asked, in seconds, while there is nobody to publish to.
_LONGEST_ASKING = 5.0

#: How long a daemon that takes nothing for now, because it drains or its disk is
#: full, is left alone while there are others, in seconds; likewise.
_FIRST_ASIDE, _LONGEST_ASIDE = 5.0, 60.0

#: Told that a daemon could not be had, or that none is known: why, and who it was
#: that said that we have no right to be there, if all do.
OnUnreachable = Callable[[Exception, "tuple[str, MillraceError] | None"], None]


def _lookups(settings: WriterSettings) -> Lookups:
    from ._discovery import Lookups  # a Writer that is given addresses needs no HTTP

    return Lookups.for_publishing(settings.lookupds, settings.connection)


class Daemon:
    """One that is known, connected to or not."""

    def __init__(self, address: str, tier: int) -> None:
        self.address = address
        self.tier = tier  # 0 is nearest
        self.order = random.random()  # so that writers spread
        self.listed = True
        self.failures = 0  # since it last answered a publish
        self.due = 0.0  # when it may be tried again
        self.failed = -math.inf  # when it failed last, as time.monotonic() has it
        self.asides = 0  # how often it was, since it last stored something
        self.aside = 0.0  # until when others are preferred
        self.refusal: MillraceError | None = None  # it has said, at the last greeting, that we have no right to be there
        self.task: asyncio.Task[None] | None = None  # connects and is connected
        self.lane: Lane | None = None

    def hopeful(self, now: float) -> bool:
        """Whether it is expected to take publishes."""
        return self.aside <= now and (self.lane is not None or not self.failures)


class Pool:
    """Keeps a publisher connected to up to max_connections of the daemons that it
    knows, the nearest ones if they can be had."""

    def __init__(
        self,
        settings: WriterSettings,
        outcomes: Outcomes,
        on_unreachable: OnUnreachable,
    ) -> None:
        self.lanes: list[Lane] = []
        self.last_error: Exception | None = None  # why the last attempt failed
        self._settings = settings
        self._log = settings.connection.logger
        self._lookups = _lookups(settings) if settings.lookupds else None
        self._outcomes = outcomes
        self._on_unreachable = on_unreachable
        self._loop = asyncio.get_running_loop()
        self._daemons = {address: Daemon(address, 0) for address in settings.addresses}
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._ask_again = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._lookups is not None:
            self._asking = self._loop.create_task(self._ask())
        self._fill()

    async def end(self) -> None:
        """Closes all connections and waits for everything that was begun."""
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [d.task for d in self._daemons.values() if d.task is not None]
        if self._asking is not None:
            tasks.append(self._asking)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def exhausted(self, since: float) -> bool:
        """Whether there is no connection, and each daemon has failed since then."""
        return not self.lanes and all(d.failed >= since for d in self._daemons.values())

    def try_now(self, since: float) -> None:
        """Begins to connect to those that have not failed since then, without waiting
        for their pauses to end."""
        for daemon in self._daemons.values():
            if daemon.failed < since:
                daemon.due = 0.0
        self._fill()

    @property
    def idle(self) -> bool:
        """Whether a connection owes no answer."""
        return any(lane.idle for lane in self.lanes)

    # Connections.

    def _fill(self) -> None:
        """Begins to connect to those that may be tried, and sees to being called when
        the next may."""
        if self._ending:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, next_due = self._loop.time(), math.inf
        known = self._daemons.values()
        nearest = min((d.tier for d in known if d.hopeful(now)), default=None)
        busy = [sum(d.task is not None and d.tier <= tier for d in known) for tier in range(_FAR + 1)]
        idle = [d for d in known if d.task is None and (nearest is None or d.tier <= nearest)]
        for daemon in sorted(idle, key=lambda d: (d.aside, d.tier, d.failures > 0, d.due, d.order)):
            if busy[daemon.tier] >= self._settings.max_connections:
                continue
            due = daemon.due if nearest is None else max(daemon.due, daemon.aside)
            if due > now:
                next_due = min(next_due, due)
                continue
            daemon.task = self._loop.create_task(self._serve(daemon))
            for tier in range(daemon.tier, _FAR + 1):
                busy[tier] += 1
        if next_due < math.inf:
            self._timer = self._loop.call_at(next_due, self._fill)

    async def _serve(self, daemon: Daemon) -> None:
        """Connects to a daemon and stays until the connection is lost."""
        lane = Lane(daemon.address, daemon.tier, self._outcomes)
        try:
            connection = await connect(
                daemon.address, self._settings.connection, lane.on_frames, lane.on_lost, extension={}
            )
        except ConnectionFailed as e:
            self._failed(daemon, e)
        else:
            lane.open(connection)
            daemon.lane, daemon.refusal = lane, None
            self.lanes.append(lane)
            self._log.debug("connected to %s", daemon.address)
            self._outcomes.pump()
            try:
                await asyncio.wait({lane.ended})  # which, unlike awaiting it, never cancels it
            finally:
                self.lanes.remove(lane)
                daemon.lane = None
                await lane.close()
            self._left(daemon, lane, connection.why)
        daemon.task = None
        if not daemon.listed:
            self._daemons.pop(daemon.address, None)
        self._fill()

    def _failed(self, daemon: Daemon, why: Exception) -> None:
        self._log.log(logging.DEBUG if daemon.failures else logging.WARNING, "%s", why)
        self.last_error = why
        daemon.refusal = _refusal(why.__cause__)
        self._pause(daemon)
        if not self._hope():
            self._ask_again.set()
        refuser = None
        if daemon.refusal is not None and all(d.refusal is not None for d in self._daemons.values()):
            refuser = daemon.address, daemon.refusal
        self._on_unreachable(why, refuser)

    def _left(self, daemon: Daemon, lane: Lane, why: Exception | None) -> None:
        early = lane.error is not None and lane.error.retry_after > 0
        self._log.log(logging.DEBUG if early else logging.WARNING, "%s: %s", daemon.address, why)
        self.last_error = why
        if lane.answered:
            daemon.failures = daemon.asides = 0
        if lane.error is not None and lane.error.retry_after > 0:
            # It is well, and says when it has room.
            daemon.aside = daemon.due = self._loop.time() + min(lane.error.retry_after, _LONGEST_ASIDE)
        elif lane.error is not None and lane.error.code.endswith("PUB_FAILED"):
            daemon.aside = self._loop.time() + _pause(_FIRST_ASIDE, daemon.asides, _LONGEST_ASIDE)
            daemon.asides += 1
            self._pause(daemon)
        elif not lane.well:
            self._pause(daemon)
        if not self._hope():
            self._ask_again.set()

    def _pause(self, daemon: Daemon) -> None:
        daemon.due = self._loop.time() + _pause(_FIRST_PAUSE, daemon.failures, _LONGEST_PAUSE)
        daemon.failures += 1
        daemon.failed = time.monotonic()

    def _hope(self) -> bool:
        now = self._loop.time()
        return any(d.hopeful(now) for d in self._daemons.values())

    # Lookupds.

    async def _ask(self) -> None:
        """Asks lookupds who takes publishes: every lookup_interval, and soon when
        there is nobody to publish to."""
        assert self._lookups is not None
        pause = 1.0
        while True:
            producers, _ = await self._lookups.ask()
            self._meet({p.address: self._tier(p.region, p.zone) for p in producers})
            self._ask_again.clear()
            if not self._daemons:
                self.last_error = MillraceError("no lookupd lists a daemon that takes publishes")
                self._on_unreachable(self.last_error, None)
            if self._hope():
                pause = 1.0
                interval = self._settings.lookup_interval * random.uniform(0.9, 1.1)
                with contextlib.suppress(asyncio.TimeoutError):
                    await within(interval, self._ask_again.wait())
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_ASKING, self._settings.lookup_interval)

    def _tier(self, region: str, zone: str) -> int:
        own = self._settings.connection
        if not own.region and not own.zone:
            return 0
        if own.zone and (region, zone) == (own.region, own.zone):
            return 0
        if own.region and region == own.region:
            return 1
        return _FAR

    def _meet(self, tiers: dict[str, int]) -> None:
        """Takes note of which daemons lookupds list. One that is not listed any more
        is forgotten when its connection has ended."""
        for address, daemon in list(self._daemons.items()):
            daemon.listed = address in tiers or address in self._settings.addresses
            if not daemon.listed and daemon.task is None:
                del self._daemons[address]
        for address, tier in tiers.items():
            if address not in self._daemons:
                self._daemons[address] = Daemon(address, tier)
        self._fill()


def _refusal(cause: BaseException | None) -> MillraceError | None:
    """cause if it is that our secret gives no right to be there, or that there is none."""
    if isinstance(cause, SecretMissing) or isinstance(cause, ServerError) and cause.code == "E_UNAUTHORIZED":
        return cause
    return None


def _pause(first: float, times: int, longest: float) -> float:
    """first seconds, doubled so many times, longest at most, and shortened at random."""
    return min(first * 2.0 ** min(times, 20), longest) * random.uniform(0.5, 1)
