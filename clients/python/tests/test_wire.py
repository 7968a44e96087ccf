"""Names, commands and frames."""

from __future__ import annotations

import unittest

from millrace import ProtocolError, _wire
from tests.publishing import HEARTBEAT, OK, frame


class Names(unittest.TestCase):
    def test_rule(self) -> None:
        for name in ("a", "a.B-9_", "..", "x" * 64, "x#ephemeral", "x" * 54 + "#ephemeral"):
            self.assertTrue(_wire.valid_name(name), name)
        for name in ("", "x" * 65, "x" * 55 + "#ephemeral", "#ephemeral", "a#", "a b", "a\n", "ä", "a#ephemeral#ephemeral"):
            self.assertFalse(_wire.valid_name(name), name)


class Commands(unittest.TestCase):
    def test_bytes(self) -> None:
        golden = {
            _wire.identify(b"{}"): b"IDENTIFY\n\0\0\0\2{}",
            _wire.auth(b"s"): b"AUTH\n\0\0\0\1s",
            _wire.sub("t", "c"): b"SUB t c\n",
            _wire.pub("t", b"ab"): b"PUB t\n\0\0\0\2ab",
            _wire.dpub("t", 1.5, b"ab"): b"DPUB t 1500\n\0\0\0\2ab",
            _wire.rdy(7): b"RDY 7\n",
            _wire.seek("earliest"): b"SEEK earliest\n",
        }
        for got, want in golden.items():
            self.assertEqual(got, want)

    def test_milliseconds_are_rounded_up_but_not_for_what_a_float_cannot_hold(self) -> None:
        for seconds, want in ((0, 0), (0.001, 1), (0.07, 70), (0.0701, 71), (3600, 3_600_000), (0.29, 290), (1.001, 1001)):
            self.assertEqual(_wire.milliseconds(seconds), want, seconds)

    def test_messages_are_read_back_and_nothing_else_is(self) -> None:
        data = _wire.messages([b"a", b"bc"])
        self.assertEqual(_wire.parse_messages(data), [b"a", b"bc"])
        for broken in (b"", data[:-1], data + b"x", b"\0\0\0\0", data[:9], b"\xff\xff\xff\xff"):
            with self.assertRaises(ValueError):
                _wire.parse_messages(broken)


class Frames(unittest.TestCase):
    stream = OK + HEARTBEAT + frame(2, b"x" * 100) + frame(1, b"E_INVALID") + frame(0, b"")
    want = [(0, b"OK"), (0, b"_heartbeat_"), (2, b"x" * 100), (1, b"E_INVALID"), (0, b"")]

    def test_wherever_the_stream_is_torn(self) -> None:
        for at in range(len(self.stream) + 1):
            splitter = _wire.Splitter()
            got = splitter.feed(self.stream[:at]) + splitter.feed(self.stream[at:])
            self.assertEqual(got, self.want, at)

    def test_byte_by_byte(self) -> None:
        splitter = _wire.Splitter()
        got = [f for at in range(len(self.stream)) for f in splitter.feed(self.stream[at : at + 1])]
        self.assertEqual(got, self.want)

    def test_sizes_out_of_range(self) -> None:
        for size in (b"\0\0\0\0", b"\0\0\0\3", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"):
            with self.assertRaisesRegex(ProtocolError, "no queue daemon"):
                _wire.Splitter().feed(size + b"\0\0\0\0")

    def test_an_http_server_is_named(self) -> None:
        with self.assertRaisesRegex(ProtocolError, "speaks HTTP"):
            _wire.Splitter().feed(b"HTTP/1.1 400 Bad Request\r\n")

    def test_errors(self) -> None:
        error = _wire.parse_error(b"E_PUB_FAILED PUB failed DRAINING: soon gone")
        self.assertEqual((error.code, error.draining, error.fatal), ("E_PUB_FAILED", True, True))
        error = _wire.parse_error(b"E_FIN_FAILED FIN 1 failed ID not in flight")
        self.assertEqual((error.draining, error.fatal), (False, False))
        self.assertEqual(str(_wire.parse_error(b"\xff")), "\ufffd")
