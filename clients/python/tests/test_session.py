"""The greeting, layers and heartbeats, without a socket."""

from __future__ import annotations

import json
import sys
import types
import unittest
import zlib
from typing import Any
from unittest import mock

from millrace import ProtocolError, ServerError, _snappy, _wire
from millrace._session import Session
from millrace._settings import ConnectionSettings
from tests.publishing import HEARTBEAT, OK, frame, refusal


def answer(**info: Any) -> bytes:
    return frame(0, json.dumps(info).encode())


def session(**settings: Any) -> Session:
    made = Session(ConnectionSettings(**settings), {"client_id": "me"})
    assert made.begin() == b"  V2" + _wire.identify(b'{"client_id": "me"}')
    return made


def receive(s: Session, data: bytes) -> list[tuple[int, bytes]]:
    return [f for frames in s.receive(data) for f in frames]


class Greeting(unittest.TestCase):
    def test_what_follows_is_the_users(self) -> None:
        s = session()
        self.assertEqual(receive(s, answer(max_rdy_count=7, millrace={"seek": True}) + OK), [(0, b"OK")])
        self.assertTrue(s.ready)
        self.assertEqual((s.info["max_rdy_count"], s.info["msg_timeout"], s.extension), (7, 60_000, {"seek": True}))

    def test_byte_by_byte(self) -> None:
        s = session()
        got = [f for b in answer(auth_required=False) + OK for f in receive(s, bytes([b]))]
        self.assertEqual(got, [(0, b"OK")])

    def test_a_daemon_of_old(self) -> None:
        s = session()
        receive(s, OK)
        self.assertTrue(s.ready)
        self.assertEqual((s.info["max_rdy_count"], s.extension), (2500, None))

    def test_what_is_no_daemon(self) -> None:
        for data, why in (
            (frame(0, b"{broken"), "not JSON"),
            (frame(0, b"[1]"), "no JSON object"),
            (frame(2, b"x" * 30), "no queue daemon"),
            (b"HTTP/1.1 400 Bad Request", "HTTP"),
            (b"\x7f\xff\xff\xff\0\0\0\0", "2147483647 bytes"),
            (frame(0, b"x" * 5)[:8] + b"hello", "not JSON"),
        ):
            with self.assertRaisesRegex(ProtocolError, why):
                receive(session(), data)

    def test_a_refusal(self) -> None:
        with self.assertRaisesRegex(ServerError, "E_BAD_BODY IDENTIFY msg timeout"):
            receive(session(), refusal("E_BAD_BODY IDENTIFY msg timeout (1) is invalid"))

    def test_nonsense_in_the_answer_is_not_believed(self) -> None:
        s = session()
        receive(s, answer(max_rdy_count="many", msg_timeout=-1, millrace="yes"))
        self.assertEqual((s.info["max_rdy_count"], s.info["msg_timeout"], s.extension), (2500, 60_000, None))

    def test_auth(self) -> None:
        s = session(auth_secret="sesame")
        receive(s, answer(auth_required=True))
        self.assertFalse(s.ready)
        self.assertEqual(s.take(), _wire.auth(b"sesame"))
        receive(s, answer(permission_count=1))
        self.assertTrue(s.ready)

    def test_a_secret_is_not_told_to_who_does_not_ask(self) -> None:
        s = session(auth_secret="sesame")
        receive(s, answer(auth_required=False))
        self.assertEqual((s.ready, s.take()), (True, b""))

    def test_no_secret(self) -> None:
        with self.assertRaisesRegex(ProtocolError, "no auth_secret"):
            receive(session(), answer(auth_required=True))

    def test_tls(self) -> None:
        s = session(tls=True)
        receive(s, answer(tls_v1=True))
        self.assertTrue(s.wants_tls and not s.ready)
        s.tls_started()
        receive(s, OK)
        self.assertTrue(s.ready)

    def test_tls_that_is_not_offered(self) -> None:
        with self.assertRaisesRegex(ProtocolError, "does not offer it"):
            receive(session(tls=True, auth_secret="sesame"), answer(tls_v1=False, auth_required=True))

    def test_plain_text_where_tls_begins(self) -> None:
        with self.assertRaisesRegex(ProtocolError, "plain text"):
            receive(session(tls=True), answer(tls_v1=True) + OK)


class Heartbeats(unittest.TestCase):
    def test_each_is_answered_and_not_shown(self) -> None:
        s = session()
        receive(s, HEARTBEAT + answer())
        self.assertEqual(s.take(), b"NOP\n")
        self.assertEqual(receive(s, HEARTBEAT + OK + HEARTBEAT), [(0, b"OK")])
        self.assertEqual(s.take(), b"NOP\nNOP\n")
        self.assertEqual(s.take(), b"")


class Deflate(unittest.TestCase):
    def setUp(self) -> None:
        self.out = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.s = session(compression="deflate")

    def deflated(self, data: bytes) -> bytes:
        return self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)

    def test_both_directions_from_the_same_read_on(self) -> None:
        got = receive(self.s, answer(deflate=True) + self.deflated(OK) + self.deflated(OK + HEARTBEAT))
        self.assertEqual((got, self.s.compression), ([(0, b"OK")], "deflate"))
        inflate = zlib.decompressobj(-15)
        self.assertEqual(inflate.decompress(bytes(self.s.take())), b"NOP\n")
        self.assertEqual(inflate.decompress(bytes(self.s.send(b"PUB"))), b"PUB")

    def test_torn_anywhere(self) -> None:
        receive(self.s, answer(deflate=True) + self.deflated(OK))
        data = self.deflated(frame(2, bytes(range(256)) * 4000))
        got = [f for at in range(0, len(data), 7) for f in receive(self.s, data[at : at + 7])]
        self.assertEqual(got, [(2, bytes(range(256)) * 4000)])

    def test_not_offered(self) -> None:
        receive(self.s, answer(deflate=False))
        self.assertEqual((self.s.ready, self.s.compression, self.s.send(b"x")), (True, None, b"x"))

    def test_what_inflates_without_end_comes_in_pieces(self) -> None:
        receive(self.s, answer(deflate=True) + self.deflated(OK))
        bomb = self.deflated((1 << 20).to_bytes(4, "big") + bytes(1 << 20) + b"\0\0\0\0" + bytes(20 << 20))
        with self.assertRaisesRegex(ProtocolError, "a frame of 0 bytes"):
            receive(self.s, bomb)

    def test_garbage(self) -> None:
        with self.assertRaisesRegex(ProtocolError, "broken"):
            receive(self.s, answer(deflate=True) + b"\xff" * 100)


class Snappy(unittest.TestCase):
    """With a codec that knows literals alone, as any decoder must."""

    def setUp(self) -> None:
        codec = types.SimpleNamespace(compress=self.compress, decompress=self.decompress)
        patch = mock.patch.dict(sys.modules, {"snappy": codec})  # type: ignore[dict-item]
        patch.start()
        self.addCleanup(patch.stop)
        for cached in (_snappy._codec, _snappy._crc):
            cached.cache_clear()
            self.addCleanup(cached.cache_clear)

    def compress(self, data: bytes) -> bytes:
        return data[:1] * 3  # smaller than anything but the shortest

    def decompress(self, block: bytes) -> bytes:
        if block[0] & 128:
            return b"y" * 70_000
        return b"x" * block[0]

    def test_checksum(self) -> None:
        self.assertEqual(_snappy._crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(_snappy._crc32c(b""), 0)
        self.assertEqual(_snappy._crc32c(b"12345678"), 0x6087809A)

    def chunk(self, kind: int, plain: bytes, block: bytes) -> bytes:
        data = _snappy._checksum(plain) + block
        return bytes([kind]) + len(data).to_bytes(3, "little") + data

    begin = b"\xff\x06\0\0sNaPpY"

    def test_reads_what_is_framed(self) -> None:
        s = session(compression="snappy")
        stream = self.begin + self.chunk(1, OK, OK) + b"\xfe\x03\0\0abc"
        got = receive(s, answer(snappy=True) + stream)
        self.assertTrue(s.ready and not got)
        part = self.chunk(0, b"x" * 5, b"\x05") + self.chunk(1, OK, OK)
        decompressor = _snappy.Decompressor()
        pieces = [p for b in self.begin + part for p in decompressor.decompress(bytes([b]))]
        self.assertEqual(pieces, [b"xxxxx", OK])

    def test_writes_what_is_framed(self) -> None:
        compressor = _snappy.Compressor()
        self.assertEqual(compressor.compress(b"abcd"), self.begin + self.chunk(0, b"abcd", b"aaa"))
        self.assertEqual(compressor.compress(b"abc"), self.chunk(1, b"abc", b"abc"))

    def test_damage(self) -> None:
        for data, why in (
            (self.chunk(1, OK, OK), "without its identifier"),
            (self.begin + self.chunk(1, OK, OK[:-1] + b"L"), "damaged"),
            (self.begin + b"\x02\x04\0\0abcd", "unknown"),
            (self.begin + b"\x00\xff\xff\xff", "16777215 bytes"),
            (b"\xff\x06\0\0sNaPpX", "does not speak"),
            (self.begin + self.chunk(0, b"", b"\xff\xff\x7f"), "longer than 64 KiB"),
        ):
            with self.assertRaisesRegex(ProtocolError, why):
                _snappy.Decompressor().decompress(data)
