"""A connection to a daemon, on asyncio: moves the bytes of a _session.Session."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from . import _wire
from ._errors import ConnectionFailed, MillraceError
from ._loop import dial, resolve, within
from ._session import Session
from ._settings import ConnectionSettings, split_address

#: How many bytes are given to the system at once. What waits behind them has
#: certainly not been sent when the connection breaks.
_CHUNK = 256 << 10

OnFrames = Callable[[list[_wire.Frame]], None]
OnLost = Callable[[Exception], None]


async def connect(
    address: str,
    settings: ConnectionSettings,
    on_frames: OnFrames,
    on_lost: OnLost,
    *,
    msg_timeout: float = 0,
    sample_rate: int = 0,
    output_buffer_timeout: float = 0,
    extension: dict[str, Any] | None = None,
) -> Connection:
    """Connects to address (host:port) and greets the daemon, within
    settings.dial_timeout.

    on_frames is given the frames of each read, heartbeats left out (they are
    answered here); on_lost why the connection ended, once, also after close().
    Both run on the loop, neither before connect has returned its connection.
    extension is what is asked of a daemon of Millrace's, beyond that it says what
    it can.

    Raises ConnectionFailed.
    """
    request = settings.identify(
        msg_timeout=msg_timeout, sample_rate=sample_rate, output_buffer_timeout=output_buffer_timeout, extension=extension or {}
    )
    connection = Connection(address, settings, Session(settings, request), on_frames, on_lost)
    try:
        await within(settings.dial_timeout, connection._open())
    except BaseException as e:
        await connection._abandon()
        if not isinstance(e, (OSError, MillraceError, asyncio.TimeoutError)):
            raise
        doing = "greeting" if connection._transport else "connecting to"
        why = f"no answer within {settings.dial_timeout:g} s" if isinstance(e, asyncio.TimeoutError) else _reason(e)
        raise ConnectionFailed(f"{doing} {address}: {why}") from e
    connection._start()
    return connection


class Connection(asyncio.Protocol):
    """A connection that is greeted. Everything is called on its loop.

    address is the daemon's; info what it answered to IDENTIFY; extension what a
    daemon of Millrace's says of itself, None on others. appended counts the bytes
    that write() was given, handed those of them that may have left: what is
    between has certainly not been sent.
    """

    def __init__(
        self, address: str, settings: ConnectionSettings, session: Session, on_frames: OnFrames, on_lost: OnLost
    ) -> None:
        self.address = address
        self.appended = 0
        self.handed = 0
        self._settings = settings
        self._session = session
        self._on_frames = on_frames
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._upgrading = False  # to TLS
        self._early: list[_wire.Frame] | None = []  # frames of before _start; None after it
        self._step: asyncio.Future[None] = self._loop.create_future()  # done when the greeting goes on, or cannot
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._why: Exception | None = None  # the reason that is known already

        self._out: deque[bytes | memoryview] = deque()
        self._flushing = False  # _flush will run
        self._paused = False  # the system takes no more for now
        self._last = False  # the sending side ends when _out is empty

        # Timers are armed lazily: each looks, when it fires, whether it should have.
        self._heard = self._loop.time()
        self._silence: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._unsent = (0, 0.0)  # the transport's buffer, and since when it has not shrunk

    @property
    def info(self) -> dict[str, Any]:
        return self._session.info

    @property
    def extension(self) -> dict[str, Any] | None:
        return self._session.extension

    @property
    def why(self) -> Exception | None:
        """Why it was lost; None while it is not."""
        return self._why

    @property
    def lost(self) -> bool:
        """Whether nothing will be read or written any more."""
        return self._why is not None or self._ended.done()

    def write(self, data: bytes) -> None:
        """Has data written: all that is given in one turn of the loop together. What
        is given after the connection was lost goes nowhere."""
        self._out.append(data)
        self.appended += len(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def fail(self, why: Exception) -> None:
        """Breaks the connection. on_lost is told why, soon."""
        if not self.lost:
            self._why = why
            assert self._transport is not None
            self._transport.abort()

    async def close(self, *, linger: float = 1.0) -> None:
        """Ends the connection, and returns when it has ended. What was written is
        sent first: the daemon has linger seconds to read it and to close its side,
        during which frames are still received. (Closing with bytes unread would be a
        TCP reset, which can overtake our last commands.) 0 closes at once.
        """
        if not self.lost and linger > 0:
            self._last = True
            self._flush()
            await asyncio.wait({self._ended}, timeout=linger)
        self.fail(ConnectionFailed(f"the connection to {self.address} was closed"))
        await asyncio.wait({self._ended})

    # What connect does.

    async def _open(self) -> None:
        host, port = split_address(self.address)
        sock = await dial(await resolve(host, port), self._settings.dial_timeout)
        try:
            await self._loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise
        assert self._transport is not None
        self._transport.write(self._session.begin())
        while not self._session.ready:
            await self._step
            if self._why is not None:
                raise self._why
            if self._session.wants_tls:
                self._step = self._loop.create_future()
                await self._start_tls(host)

    async def _start_tls(self, host: str) -> None:
        context = self._settings.tls_context
        assert context is not None and self._transport is not None
        self._upgrading = True
        transport = await self._loop.start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=self._settings.dial_timeout
        )
        self._upgrading = False
        if transport is None:
            raise ConnectionResetError("the daemon closed the connection while TLS began")
        self._transport = transport
        self._session.tls_started()
        self._reply()

    def _start(self) -> None:
        early, self._early = self._early, None
        if early:
            self._loop.call_soon(self._on_frames, early)
        assert self._transport is not None
        # Small: what is not handed to the transport is known to be unsent. (Not the
        # least: at 0, asyncio's TLS takes an empty buffer for a full one.)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._silence = self._loop.call_later(self._settings.silence, self._check_silence)
        if self._ended.done():  # meanwhile
            self._loop.call_soon(self._tell_lost)

    async def _abandon(self) -> None:
        """Ends what connect has begun."""
        self._on_lost = lambda why: None
        if self._transport is not None:
            self._transport.abort()
            if self._upgrading:  # then asyncio, before 3.11, does not tell of the end
                await asyncio.sleep(0)
            else:
                await asyncio.wait({self._ended})

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._why is not None:
            return
        try:
            for frames in self._session.receive(data):
                if self._early is not None:
                    self._early += frames
                else:
                    self._on_frames(frames)
        except MillraceError as e:
            self._why = e
            assert self._transport is not None
            self._transport.abort()
        self._reply()
        if self._why is not None or self._session.ready or self._session.wants_tls:
            self._go_on()

    def eof_received(self) -> None:
        # asyncio would go on sending first what it has: for ever, to a daemon that
        # neither reads nor closes.
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._why is None and exc is not None:
            self._drain()
        if self._why is None:
            self._why = exc or ConnectionResetError("the daemon closed the connection")
        for timer in (self._silence, self._stall):
            if timer is not None:
                timer.cancel()
        self._silence = self._stall = None
        self._go_on()
        if not self._ended.done():
            self._ended.set_result(None)
        if self._early is None:
            self._tell_lost()

    def pause_writing(self) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return  # asyncio's TLS says this of its own goodbye, too
        self._paused = True
        self._unsent = self._transport.get_write_buffer_size(), self._loop.time()
        if self._stall is None:
            self._stall = self._loop.call_later(self._settings.write_timeout, self._check_stall)

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    # The rest.

    def _go_on(self) -> None:
        """Has _open look at what has come."""
        if not self._step.done():
            self._step.set_result(None)

    def _flush(self) -> None:
        self._flushing = False
        if self.lost or self._transport is None:
            return
        while self._out and not self._paused and not self._transport.is_closing():
            self._transport.write(self._session.send(self._next_chunk()))
        if self._last and not self._out:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:  # TLS has a goodbye of its own
                self._transport.close()

    def _next_chunk(self) -> bytes | memoryview:
        chunk = self._out.popleft()
        if len(chunk) > _CHUNK:
            self._out.appendleft(memoryview(chunk)[_CHUNK:])
            chunk = memoryview(chunk)[:_CHUNK]
        elif self._out and len(chunk) + len(self._out[0]) <= _CHUNK:
            parts, length = [chunk], len(chunk)
            while self._out and length + len(self._out[0]) <= _CHUNK:
                parts.append(self._out.popleft())
                length += len(parts[-1])
            chunk = b"".join(parts)
        self.handed += len(chunk)
        return chunk

    def _reply(self) -> None:
        """Has what the session says written, ahead of what waits."""
        data = self._session.take()
        if data and self._why is None and self._transport is not None:
            self._transport.write(data)

    def _drain(self) -> None:
        """Reads what had arrived when a write failed: a daemon that closes has said
        why, and what it answered would else be uncertain."""
        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        if sock is None or self._transport.get_extra_info("sslcontext") is not None:
            return
        try:
            with socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.setblocking(False)
                while data := same.recv(_CHUNK):
                    self.data_received(data)
        except OSError:
            pass  # nothing more

    def _check_silence(self) -> None:
        # Reads of this turn of the loop came before its timers: a program that
        # kept the loop busy for long does not take a daemon for dead.
        due = self._heard + self._settings.silence
        now = self._loop.time()
        if now < due:
            self._silence = self._loop.call_at(due, self._check_silence)
        else:
            self.fail(ConnectionFailed(f"{self.address} has been silent for {now - self._heard:.0f} s"))

    def _check_stall(self) -> None:
        self._stall = None
        assert self._transport is not None
        if not self._paused or self.lost or self._transport.is_closing():
            return
        now = self._loop.time()
        size = self._transport.get_write_buffer_size()
        if size < self._unsent[0]:
            self._unsent = size, now
        due = self._unsent[1] + self._settings.write_timeout
        if now < due:
            self._stall = self._loop.call_at(due, self._check_stall)
        else:
            why = f"{self.address} has read nothing of what was sent for {now - self._unsent[1]:.0f} s"
            self.fail(ConnectionFailed(why))

    def _tell_lost(self) -> None:
        why = self._why
        assert why is not None
        if not isinstance(why, MillraceError):
            lost = ConnectionFailed(f"the connection to {self.address} broke: {_reason(why)}")
            lost.__cause__ = why
            why = lost
        self._on_lost(why)


def _reason(e: BaseException) -> str:
    return str(e) or type(e).__name__
