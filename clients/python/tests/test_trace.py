"""Trace context in bodies."""

from __future__ import annotations

import unittest

from millrace import trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Trace(unittest.TestCase):
    def test_there_and_back(self) -> None:
        for parent, state, body, wrapped in (
            (PARENT, "", b"hi", b"traceparent: " + PARENT.encode() + b"\n\nhi"),
            (PARENT, "a=b,c=d", b"", b"traceparent: " + PARENT.encode() + b"\ntracestate: a=b,c=d\n\n"),
            (PARENT, "", b"\n\ntraceparent: x\n", b"traceparent: " + PARENT.encode() + b"\n\n\n\ntraceparent: x\n"),
            ("cc" + PARENT[2:] + "-more", "", b"x", b"traceparent: cc" + PARENT[2:].encode() + b"-more\n\nx"),
        ):
            with self.subTest(wrapped):
                self.assertEqual(trace.wrap(body, parent, state), wrapped)
                self.assertEqual(trace.unwrap(wrapped), (body, parent, state))

    def test_what_is_not_wrapped_passes(self) -> None:
        line = b"traceparent: " + PARENT.encode()
        for body in (
            b"", b"hello", b"traceparent: ", b"traceparent: nonsense\n\nx", line, line + b"\n", line + b"\nx",
            line + b"\ntracestate: a=b", line + b"\ntracestate: a=b\nx", line + b"\ntracestate: \xff\n\nx",
            line + b"-more\n\nx", line + b"\ntracestate: " + b"a" * 9000 + b"\n\nx", b"T" + line[1:] + b"\n\nx",
        ):
            with self.subTest(body[:80]):
                self.assertEqual(trace.unwrap(body), (body, "", ""))

    def test_a_trace_is_no_reason_to_fail(self) -> None:
        for parent in (
            "", "nonsense", PARENT + "\nx", PARENT.upper(), "ff" + PARENT[2:], PARENT + "-more", "ä",
            "00-" + "0" * 32 + PARENT[35:], PARENT[:36] + "0" * 16 + "-01",
        ):
            with self.subTest(parent):
                self.assertEqual(trace.wrap(b"x", parent, "a=b"), b"x")
        for state in ("a=b\n", "ä", "a" * 10_000):
            with self.subTest(state[:10]):
                self.assertEqual(trace.unwrap(trace.wrap(b"x", PARENT, state)), (b"x", PARENT, ""))

    def test_new(self) -> None:
        first = trace.new_traceparent()
        self.assertEqual(trace.unwrap(trace.wrap(b"x", first))[1], first)
        child = trace.new_traceparent(PARENT[:-2] + "06")
        self.assertEqual((child[:36], child[-2:]), (PARENT[:36], "00"))
        self.assertEqual(trace.new_traceparent(PARENT[:-2] + "03")[-3:], "-01")
        self.assertNotEqual(child[36:52], PARENT[36:52])
        self.assertEqual(trace.new_traceparent("nonsense", sampled=False)[-3:], "-00")
