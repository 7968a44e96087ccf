"""A publisher's connection to one daemon: answers carry no name, so they are
matched with the batches by their order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from . import _wire
from ._connection import Connection
from ._errors import ProtocolError, ServerError
from ._batch import Batch

#: How many bytes may be unanswered on a connection while others wait for a lane
#: that has less.
WINDOW = 1 << 20


class Outcomes(Protocol):
    """Who is told what became of batches."""

    def stored(self, lane: Lane, batch: Batch) -> None: ...

    def refused(self, lane: Lane, batch: Batch, error: ServerError) -> None: ...

    def broken(self, lane: Lane, unsent: list[Batch], uncertain: list[Batch], why: Exception) -> None:
        """The connection is no more. Unsent batches are certainly not stored."""

    def pump(self) -> None: ...


class Lane:
    """Batches that were sent to one daemon and are not answered."""

    def __init__(self, address: str, tier: int, outcomes: Outcomes) -> None:
        self.address = address
        self.tier = tier  # 0 is nearest
        self.unanswered = 0  # bytes of bodies
        self.used = 0  # grows from use to use of all lanes
        self.answered = False  # it has stored something, or refused it
        self.well = False  # it has closed for no other reason than a message
        self.error: ServerError | None = None  # the daemon's last word
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outcomes = outcomes
        self._connection: Connection | None = None
        self._out: deque[tuple[Batch, int]] = deque()  # each with its end, counted in bytes of the connection

    def open(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def gone(self) -> bool:
        return self.ended.done() or self._connection is None or self._connection.lost

    @property
    def idle(self) -> bool:
        return not self._out and not self.gone

    @property
    def full(self) -> bool:
        return self.unanswered >= WINDOW

    @property
    def whole_batches(self) -> bool:
        """Whether a batch that fails is known to be stored not even in part."""
        return bool(self._extension.get("whole_batches"))

    def over_limit(self, batch: Batch) -> ServerError | None:
        """What the daemon would answer to batch, if it has told its limits and they
        are exceeded."""
        limit = self._limit("max_msg_size")
        if limit and batch.bytes > limit and (longest := max(map(len, batch.bodies))) > limit:
            return ServerError("E_BAD_MESSAGE", f"a message of {longest} bytes is longer than the daemon's limit, {limit}")
        limit, total = self._limit("max_body_size"), 4 + 4 * batch.count + batch.bytes
        if limit and batch.count > 1 and total > limit:
            return ServerError("E_BAD_BODY", f"a batch of {total} bytes is longer than the daemon's limit, {limit}")
        limit = self._limit("max_req_timeout")
        if limit and batch.delay is not None and batch.delay * 1000 > limit:
            return ServerError("E_INVALID", f"a delay of {batch.delay:g} s is longer than the daemon's limit, {limit} ms")
        return None

    def send(self, batch: Batch) -> None:
        assert self._connection is not None
        self._connection.write(batch.command())
        self._out.append((batch, self._connection.appended))
        self.unanswered += batch.bytes

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(linger=0)

    # What the connection calls.

    def on_frames(self, frames: list[_wire.Frame]) -> None:
        for kind, data in frames:
            if self.ended.done():
                return
            if kind == _wire.FRAME_ERROR:
                self.error = _wire.parse_error(data)
                self._end(self.error)
                return
            if kind != _wire.FRAME_RESPONSE or data != _wire.OK or not self._out:
                self._fail(ProtocolError(f"{self.address} answered {data[:40]!r} to a publisher who waits for OK"))
                return
            batch, _ = self._out.popleft()
            self.unanswered -= batch.bytes
            self.answered = True
            self._outcomes.stored(self, batch)
        self._outcomes.pump()

    def on_lost(self, why: Exception) -> None:
        if not self.ended.done():
            self._end(why)

    # The rest.

    def _limit(self, name: str) -> int:
        """What the daemon has told; 0 if it has not."""
        value = self._extension.get(name)
        return value if isinstance(value, int) else 0

    @property
    def _extension(self) -> dict[str, object]:
        return (self._connection and self._connection.extension) or {}

    def _fail(self, why: Exception) -> None:
        assert self._connection is not None
        self._connection.fail(why)

    def _end(self, why: Exception) -> None:
        """Says what becomes of each batch. If the daemon refused one, those behind it
        were certainly not executed, since it stops there; nor were those whose last
        byte never left."""
        assert self._connection is not None
        self.ended.set_result(None)
        if self.error is not None:
            self._fail(why)
        out, self._out = self._out, deque()
        refused = out.popleft()[0] if self.error is not None and out else None
        sent = 0 if self.error is not None else self._connection.handed
        uncertain = [batch for batch, end in out if end <= sent]
        unsent = [batch for batch, end in out if end > sent]
        self._outcomes.broken(self, unsent, uncertain, why)
        if refused is not None:
            assert self.error is not None
            self.well = not self.error.code.endswith("PUB_FAILED")
            self.answered = self.answered or self.well
            self._outcomes.refused(self, refused, self.error)
        self._outcomes.pump()
