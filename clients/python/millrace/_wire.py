"""The wire that Millrace shares with NSQ: names, commands as bytes, and frames
cut out of a stream. Nothing here knows of sockets or time.

All integers on the wire are big-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from ._errors import ProtocolError, ServerError

MAGIC = b"  V2"

FRAME_RESPONSE = 0
FRAME_ERROR = 1
FRAME_MESSAGE = 2

OK = b"OK"
HEARTBEAT = b"_heartbeat_"
CLOSE_WAIT = b"CLOSE_WAIT"

NOP = b"NOP\n"
CLS = b"CLS\n"

#: The longest frame that is taken, in bytes. Daemons take messages of 1 MiB by
#: default; memory is only used as bytes arrive, so the bound may be generous.
MAX_FRAME = 64 << 20

#: Bytes of a message frame's data before the body: timestamp, attempts, ID.
MESSAGE_HEADER = struct.Struct(">qH16s")

_FRAME_HEADER = struct.Struct(">iI")
_SIZE = struct.Struct(">I")
_NAME = re.compile(r"(?=.{1,64}\Z)[.a-zA-Z0-9_-]+(#ephemeral)?\Z")


def valid_name(name: str) -> bool:
    """Whether name may be a topic's or channel's: 1 to 64 of ".a-zA-Z0-9_-", of
    which the last ten may be "#ephemeral"."""
    return isinstance(name, str) and _NAME.match(name) is not None


def size(n: int) -> bytes:
    """n as the four bytes that precede a body."""
    return _SIZE.pack(n)


def identify(body: bytes) -> bytes:
    return b"IDENTIFY\n" + size(len(body)) + body


def auth(secret: bytes) -> bytes:
    return b"AUTH\n" + size(len(secret)) + secret


def sub(topic: str, channel: str) -> bytes:
    return f"SUB {topic} {channel}\n".encode()


def pub(topic: str, body: bytes) -> bytes:
    return b"PUB %b\n%b%b" % (topic.encode(), size(len(body)), body)


def dpub(topic: str, delay: float, body: bytes) -> bytes:
    """PUB of what is to be delivered delay seconds from now, sent in whole
    milliseconds, rounded up."""
    return b"DPUB %b %d\n%b%b" % (topic.encode(), milliseconds(delay), size(len(body)), body)


def messages(bodies: Sequence[bytes]) -> bytes:
    """Messages as an MPUB has them: their count, then each with its size."""
    parts = [size(len(bodies))]
    for body in bodies:
        parts += size(len(body)), body
    return b"".join(parts)


def parse_messages(data: bytes) -> list[bytes]:
    """What messages() was given. Raises ValueError."""
    if len(data) < 4:
        raise ValueError("messages without a count")
    bodies = []
    at = 4
    for _ in range(_SIZE.unpack_from(data)[0]):
        stop = at + 4 + _SIZE.unpack_from(data, at)[0] if at + 4 <= len(data) else len(data) + 1
        if stop > len(data):
            raise ValueError("messages that end early")
        bodies.append(data[at + 4 : stop])
        at = stop
    if at != len(data) or not bodies:
        raise ValueError("more, or less, than messages")
    return bodies


def mpub_header(topic: str, total: int, count: int) -> bytes:
    """An MPUB up to its first message. total is the length of the rest in bytes,
    the count's four included."""
    return b"MPUB %b\n%b%b" % (topic.encode(), size(total), size(count))


def rdy(count: int) -> bytes:
    return b"RDY %d\n" % count


def seek(place: str) -> bytes:
    return f"SEEK {place}\n".encode()


def milliseconds(seconds: float) -> int:
    """seconds in whole milliseconds, rounded up. What a float cannot hold
    exactly (0.07 s are 70.00000000000001 ms) does not count as a fraction."""
    return -int(-round(seconds * 1000, 6) // 1)


def parse_error(data: bytes | memoryview) -> ServerError:
    """The data of an error frame."""
    code, _, text = str(data, "utf-8", "replace").partition(" ")
    return ServerError(code, text)


Frame = tuple[int, bytes]


class Splitter:
    """Cuts a stream into frames. feed() takes bytes as they come and returns the
    frames that they complete, as (type, data)."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._missing = 0  # bytes without which _rest holds no whole frame

    def feed(self, data: bytes) -> list[Frame]:
        """Raises ProtocolError at a size out of range, which is what garbage looks
        like; the frames before it are lost, and the connection with them."""
        if self._missing > 0 or self._rest:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:
                return []  # of a large frame; cutting is tried once for the whole of it
            data = bytes(self._rest)
            self._rest.clear()
        frames: list[Frame] = []
        append, unpack = frames.append, _FRAME_HEADER.unpack_from
        at, end = 0, len(data)
        self._missing = 8
        while end - at >= 8:
            length, kind = unpack(data, at)
            if not 4 <= length <= self._limit:
                raise ProtocolError(_describe(length, data[at : at + 4], self._limit))
            stop = at + 4 + length
            if stop > end:
                self._missing = stop - at
                break
            append((kind, data[at + 8 : stop]))
            at = stop
        self._missing -= end - at
        self._rest += data[at:]
        if not self._rest:
            self._missing = 0
        return frames


def cut(data: bytearray, limit: int) -> tuple[Frame | None, bytearray]:
    """The first frame of data, if it is whole, and what follows it."""
    if len(data) < 8:
        return None, data
    length, kind = _FRAME_HEADER.unpack_from(data)
    if not 4 <= length <= limit:
        raise ProtocolError(_describe(length, data[:4], limit))
    if len(data) < 4 + length:
        return None, data
    return (kind, bytes(data[8 : 4 + length])), data[4 + length :]


def _describe(length: int, begin: bytes | bytearray, limit: int) -> str:
    if begin == b"HTTP":
        return "what answers speaks HTTP: it is no queue daemon's TCP address"
    return f"a frame of {length} bytes (4 to {limit} are possible): what answers is no queue daemon, or the stream is broken"
