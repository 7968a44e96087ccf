"""A connection's conversation without its I/O: bytes in, frames and bytes out.

It greets the daemon (IDENTIFY, TLS, compression, AUTH), undoes compression, cuts
frames and answers heartbeats. _connection.py moves the bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol

from . import _snappy, _wire
from ._errors import ProtocolError, SecretMissing
from ._settings import ConnectionSettings

#: How many bytes are inflated at once: what inflates without end must meet the
#: limit of a frame before it meets that of memory.
_PIECE = 256 << 10

#: The longest answer while a daemon is greeted, in bytes.
_MAX_GREETING = 1 << 20

_HEARTBEAT = (_wire.FRAME_RESPONSE, _wire.HEARTBEAT)

#: What a daemon of old, which says nothing, is taken to have said.
_DEFAULTS = {"max_rdy_count": 2500, "msg_timeout": 60_000, "max_msg_timeout": 900_000}


class _Layer(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def decompress(self, data: bytes) -> Iterable[bytes]: ...


class _Snappy:
    def __init__(self) -> None:
        self.compress = _snappy.Compressor().compress
        self.decompress = _snappy.Decompressor().decompress


class _Deflate:
    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def compress(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def decompress(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._inflate.decompress(data, _PIECE)
            except zlib.error as e:
                raise ProtocolError(f"the compressed stream is broken: {e}") from e
            yield piece
            data = self._inflate.unconsumed_tail
            # All input may be taken while output is still held back.
            if not data and len(piece) < _PIECE:
                return


class Session:
    """The state of one conversation. Whoever drives it

    - writes begin(), then take() after each receive(),
    - gives receive() what it reads, and starts TLS when wants_tls is set,
    - writes what send() makes of commands, once ready is set.
    """

    def __init__(self, settings: ConnectionSettings, request: dict[str, Any]) -> None:
        self.info: dict[str, Any] = {}  #: IDENTIFY's answer
        self.extension: dict[str, Any] | None = None  #: what a daemon of Millrace's says of itself
        self.ready = False
        self.wants_tls = False
        self.compression: str | None = None  #: the one that is spoken
        self._settings = settings
        self._request = request
        self._steps = self._greet()
        self._layer: _Layer | None = None
        self._splitter = _wire.Splitter()
        self._early = bytearray()  # what was read of the greeting and not yet cut
        self._replies: list[bytes] = []

    def begin(self) -> bytes:
        next(self._steps)
        return _wire.MAGIC + _wire.identify(json.dumps(self._request).encode())

    def send(self, data: bytes | memoryview) -> bytes | memoryview:
        """data as it goes over the wire."""
        return self._layer.compress(bytes(data)) if self._layer else data

    def take(self) -> bytes | memoryview:
        """What the session itself has to say, as it goes over the wire."""
        if not self._replies:
            return b""
        data = b"".join(self._replies)
        self._replies.clear()
        return self.send(data)

    def tls_started(self) -> None:
        self.wants_tls = False

    def receive(self, data: bytes) -> Iterator[list[_wire.Frame]]:
        """The frames that data completes, without heartbeats, in lists of bounded
        size. While the session is not ready there are none. Raises ProtocolError,
        and while it is not ready ServerError."""
        for piece in self._layer.decompress(data) if self._layer else (data,):
            if not self.ready:
                self._early += piece
                self._advance()
                if not self.ready:
                    continue
                piece = bytes(self._early)
                self._early.clear()
            frames = self._splitter.feed(piece)
            beats = frames.count(_HEARTBEAT)
            if beats:
                self._replies += [_wire.NOP] * beats
                frames = [frame for frame in frames if frame != _HEARTBEAT]
            if frames:
                yield frames

    def _advance(self) -> None:
        """Goes on greeting with what was read."""
        while not self.ready and not self.wants_tls:
            # One frame at a time: what follows may be of another layer.
            frame, rest = _wire.cut(self._early, _MAX_GREETING)
            if frame is None:
                return
            self._early = rest
            kind, data = frame
            if kind == _wire.FRAME_ERROR:
                raise _wire.parse_error(data)
            if kind != _wire.FRAME_RESPONSE:
                raise ProtocolError("what answers is no queue daemon's TCP address")
            if frame == _HEARTBEAT:
                self._replies.append(_wire.NOP)
                continue
            try:
                self._steps.send(data)
            except StopIteration:
                self.ready = True
        if self.wants_tls and self._early:
            raise ProtocolError("the daemon sent plain text where TLS begins")

    def _greet(self) -> Generator[None, bytes, None]:
        """Each yield is for the daemon's next response."""
        self._identified((yield))
        if self._settings.tls:
            if not self.info.get("tls_v1"):
                raise ProtocolError("TLS is set, and the daemon does not offer it")
            self.wants_tls = True
            _expect_ok((yield), "TLS")
        wanted = self._settings.compression
        if wanted and self.info.get(wanted):
            self._layer = _Snappy() if wanted == "snappy" else _Deflate(self._settings.deflate_level)
            self.compression = wanted
            early, self._early = bytes(self._early), bytearray()
            for piece in self._layer.decompress(early):
                self._early += piece
            _expect_ok((yield), wanted)
        if self.info.get("auth_required"):
            if not self._settings.auth_secret:
                raise SecretMissing("the daemon requires AUTH, and no auth_secret is set")
            self._replies.append(_wire.auth(self._settings.auth_secret.encode()))
            yield

    def _identified(self, answer: bytes) -> None:
        if answer != _wire.OK:
            try:
                self.info = json.loads(answer)
            except ValueError as e:
                raise ProtocolError(f"the answer to IDENTIFY is not JSON: {answer[:60]!r}") from e
            if not isinstance(self.info, dict):
                raise ProtocolError(f"the answer to IDENTIFY is no JSON object: {answer[:60]!r}")
        for key, otherwise in _DEFAULTS.items():
            value = self.info.get(key)
            if not isinstance(value, int) or value <= 0:
                self.info[key] = otherwise
        extension = self.info.get("millrace")
        self.extension = extension if isinstance(extension, dict) else None


def _expect_ok(answer: bytes, layer: str) -> None:
    if answer != _wire.OK:
        raise ProtocolError(f"the daemon answered {answer[:60]!r} where {layer} begins")
