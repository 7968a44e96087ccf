"""Snappy's framing format, on the block codec of python-snappy or cramjam.

Their own stream classes differ from version to version; a block is the same in
all of them.
"""

from __future__ import annotations

import importlib
import struct
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ._errors import ProtocolError

_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
_COMPRESSED, _UNCOMPRESSED = 0x00, 0x01
_BLOCK = 65536  # the most that a chunk may hold, uncompressed
_MAX_CHUNK = 4 + 32 + _BLOCK + _BLOCK // 6  # the most that a block is compressed to

_WORD = struct.Struct("<I")


def available() -> bool:
    return _codec() is not None


@lru_cache(maxsize=None)
def _codec() -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]] | None:
    """Compress and decompress of one block."""
    for name in ("snappy", "cramjam"):
        try:
            module: Any = importlib.import_module(name)
            if name == "cramjam":
                return module.snappy.compress_raw, module.snappy.decompress_raw
            return module.compress, module.decompress
        except (ImportError, AttributeError):
            continue
    return None


@lru_cache(maxsize=None)
def _crc() -> Callable[[bytes], int]:
    for name in ("crc32c", "google_crc32c"):
        try:
            module: Any = importlib.import_module(name)
            fast: Callable[[bytes], int] = module.crc32c if name == "crc32c" else module.value
            return fast
        except (ImportError, AttributeError):
            continue
    return _crc32c


@lru_cache(maxsize=None)
def _table() -> list[int]:
    """CRC-32C of every two bytes: one step for two bytes halves the time."""
    one = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        one.append(n)
    return [one[(one[n & 255] ^ n >> 8) & 255] ^ one[n & 255] >> 8 for n in range(65536)]


def _crc32c(data: bytes) -> int:
    table, crc = _table(), 0xFFFFFFFF
    even = len(data) & ~1
    words = array("H", data[:even])
    if struct.pack("=H", 1) != b"\x01\x00":
        words.byteswap()
    for word in words:
        word ^= crc & 0xFFFF
        crc = table[word] ^ crc >> 16
    for byte in data[even:]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    crc = _crc()(data)
    return _WORD.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class Compressor:
    def __init__(self) -> None:
        codec = _codec()
        assert codec is not None
        self._block = codec[0]
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        """data as whole chunks, which the peer can read at once."""
        out = [] if self._begun else [_IDENTIFIER]
        self._begun = True
        for at in range(0, len(data), _BLOCK):
            plain = data[at : at + _BLOCK]
            block, kind = bytes(self._block(plain)), _COMPRESSED
            if len(block) >= len(plain):
                block, kind = plain, _UNCOMPRESSED
            out += _WORD.pack(kind | 4 + len(block) << 8), _checksum(plain), block
        return b"".join(out)


class Decompressor:
    def __init__(self) -> None:
        codec = _codec()
        assert codec is not None
        self._block = codec[1]
        self._rest = b""
        self._begun = False

    def decompress(self, data: bytes) -> list[bytes]:
        """What data completes, in pieces of 64 KiB at most. Raises ProtocolError."""
        data = self._rest + data
        pieces = []
        at = 0
        while len(data) - at >= 4:
            word: int = _WORD.unpack_from(data, at)[0]
            kind, length = word & 0xFF, word >> 8
            if length > _MAX_CHUNK and kind < 0x80:
                raise ProtocolError(f"a snappy chunk of {length} bytes")
            if len(data) - at - 4 < length:
                break
            piece = self._chunk(kind, data[at + 4 : at + 4 + length])
            if piece:
                pieces.append(piece)
            at += 4 + length
        self._rest = data[at:]
        return pieces

    def _chunk(self, kind: int, chunk: bytes) -> bytes:
        if kind == 0xFF:
            if chunk != _IDENTIFIER[4:]:
                raise ProtocolError("what answers does not speak snappy's framing format")
            self._begun = True
            return b""
        if not self._begun:
            raise ProtocolError("a snappy stream without its identifier")
        if kind >= 0x80:  # padding, and what may be skipped
            return b""
        if kind not in (_COMPRESSED, _UNCOMPRESSED) or len(chunk) < 4:
            raise ProtocolError(f"an unknown snappy chunk, type {kind}")
        plain = self._uncompress(chunk[4:]) if kind == _COMPRESSED else chunk[4:]
        if len(plain) > _BLOCK or _checksum(plain) != chunk[:4]:
            raise ProtocolError("a snappy chunk is damaged")
        return plain

    def _uncompress(self, block: bytes) -> bytes:
        if _declared(block) > _BLOCK:  # a codec would believe it, and allocate
            raise ProtocolError("a snappy chunk is longer than 64 KiB")
        try:
            return bytes(self._block(block))
        except Exception as e:  # each codec has its own
            raise ProtocolError(f"a snappy chunk is damaged: {e}") from e


def _declared(block: bytes) -> int:
    """The length that a block begins with, as a varint."""
    value = shift = 0
    for byte in block[:5]:
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value
