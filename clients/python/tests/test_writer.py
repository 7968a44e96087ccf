"""Writer and AsyncWriter against daemons to play with: what they publish, and to whom."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any
from unittest import mock

import millrace
from millrace import RefusedError, UnavailableError
from tests.publishing import OK, PATIENCE, AsyncForm, Command, Daemon, Outcomes, wait_until
from tests.writers import NOBODY, Form


class Both:
    """Tests of both forms, which are not cases themselves."""

    class Publishing(Form):
        def test_one_many_deferred(self) -> None:
            daemon = self.daemon()
            with self.writer(daemon) as writer:
                writer.publish("orders", b"a")
                writer.publish_many("orders", [b"b", bytearray(b"c"), memoryview(b"d")])
                writer.publish_deferred("orders", 1.5, b"e")
                self.assertEqual(writer.stats().published, 5)
            self.assertEqual([repr(c) for c in daemon.heard], ["PUB orders a", "MPUB orders b c d", "DPUB orders 1500 e"])

        def test_async(self) -> None:
            daemon = self.daemon()
            writer, outcomes = self.writer(daemon), Outcomes()
            writer.publish_async("t", b"a", outcomes)
            writer.publish_many_async("t", [b"b", b"c"], outcomes)
            writer.publish_deferred_async("t", 1, b"d", outcomes)
            writer.publish_async("t", b"e")
            writer.flush()
            self.assertEqual(outcomes.errors, [None, None, None])
            self.assertEqual(daemon.stored, [b"a", b"b", b"c", b"d", b"e"])

        def test_what_is_published_meanwhile_shares_a_command(self) -> None:
            first = threading.Event()

            def answer(command: Command) -> bytes:
                first.wait(PATIENCE)
                return OK

            daemon = self.daemon(answer)
            writer = self.writer(daemon)
            writer.publish_async("t", b"first")
            wait_until(lambda: writer.stats().batches == 1)
            for n in range(500):
                writer.publish_async("t", b"%d" % n)
            first.set()
            writer.flush()
            self.assertLess(len(daemon.heard), 250)
            self.assertEqual(daemon.stored, [b"first", *(b"%d" % n for n in range(500))])

        def test_without_a_linger_each_is_alone(self) -> None:
            daemon = self.daemon()
            writer = self.writer(daemon, linger=0)
            for n in range(20):
                writer.publish_async("t", b"%d" % n)
            writer.flush()
            self.assertEqual(daemon.lines, ["PUB t"] * 20)

        def test_wrong_calls(self) -> None:
            writer = self.writer(NOBODY)
            for topic, body in (("two words", b"x"), ("", b"x"), ("t", b""), ("x" * 65, b"x")):
                with self.assertRaises(RefusedError) as refused:
                    writer.publish(topic, body)
                self.assertIsInstance(refused.exception.__cause__, ValueError)
            for bodies in ([], [b"a", b""]):
                with self.assertRaises(RefusedError):
                    writer.publish_many("t", bodies)
            for call in (
                lambda: writer.publish("t", "text"),
                lambda: writer.publish_many("t", b"abc"),
                lambda: writer.publish_many("t", [b"a", "b"]),
                lambda: writer.publish(None, b"a"),
            ):
                with self.assertRaises(TypeError):
                    call()
            with self.assertRaises(ValueError):
                writer.publish_deferred("t", -1, b"x")

        def test_wrong_settings_are_told_all_at_once(self) -> None:
            with self.assertRaises(ValueError) as wrong:
                self.make(["nowhere", "a:0", "::1:4150"], max_in_flight=0, heartbeat_interval=0.5, linger=1, compression="zip")
            for part in ("'nowhere'", "'a:0'", "'::1:4150'", "max_in_flight", "heartbeat_interval", "linger", "'zip'"):
                self.assertIn(part, str(wrong.exception))
            with self.assertRaisesRegex(ValueError, "neither an address nor a lookupd"):
                self.make()

        def test_bounds(self) -> None:
            go = threading.Event()

            def answer(command: Command) -> bytes:
                go.wait(PATIENCE)
                return OK

            daemon = self.daemon(answer)
            writer = self.writer(daemon, max_in_flight=2)
            writer.publish_async("t", b"a")
            writer.publish_async("t", b"b")
            with self.assertRaisesRegex(UnavailableError, "no room within 0.01 s"):
                writer.publish("t", b"c", timeout=0.01)
            self.assertEqual(writer.stats().in_flight, 2)
            late = self.in_thread(lambda: writer.publish_async("t", b"d"))
            large = self.in_thread(lambda: writer.publish_many("t", [b"e"] * 5))
            go.set()
            late(), large()
            writer.flush()
            self.assertEqual(writer.stats().in_flight, 0)
            daemon.wait_stored([b"a", b"b", b"d", *[b"e"] * 5])

        def test_on_publish(self) -> None:
            told: list[millrace.Published] = []
            daemon = self.daemon()
            writer = self.writer(daemon, on_publish=told.append)
            writer.publish_many("t", [b"a", b"bc"])
            (published,) = told
            self.assertEqual(
                (published.topic, published.address, published.messages, published.bytes, published.error),
                ("t", daemon.address, 2, 3, None),
            )
            self.assertGreaterEqual(published.took, 0)

        def test_hooks_and_callbacks_that_fail_harm_nobody(self) -> None:
            for error in (RuntimeError("on purpose"), SystemExit(3), KeyboardInterrupt()):
                fail = mock.Mock(side_effect=error)
                writer, outcomes = self.writer(self.daemon(), on_publish=fail), Outcomes()
                writer.publish_async("t", b"a", fail)
                writer.publish_async("t", b"b", outcomes)
                writer.flush(PATIENCE)
                self.assertEqual(outcomes.errors, [None])
            self.assertEqual(len(self.log.having("the callback of a publish failed")), 3)
            self.assertGreaterEqual(len(self.log.having("on_publish failed")), 3)

    class Finding(Form):
        """What is done with lookupds' answers; asking is not what is tested."""

        def setUp(self) -> None:
            super().setUp()
            self.listed: list[Any] = []
            test = self

            class Lookups:
                @classmethod
                def for_publishing(cls, lookupds: Any, settings: Any) -> Lookups:
                    return cls()

                async def ask(self) -> tuple[list[Any], bool]:
                    return list(test.listed), True

            patch = mock.patch.dict(sys.modules, {"millrace._discovery": types.SimpleNamespace(Lookups=Lookups)})  # type: ignore[dict-item]
            patch.start()
            self.addCleanup(patch.stop)

        def list(self, daemon: Daemon, region: str = "", zone: str = "") -> None:
            self.listed.append(types.SimpleNamespace(address=daemon.address, region=region, zone=zone))

        def test_near_ones_first(self) -> None:
            far, near, own = self.daemon(), self.daemon(), self.daemon()
            self.list(far, "us", "1")
            self.list(near, "eu", "2")
            self.list(own, "eu", "1")
            writer = self.writer(lookupds="localhost:4161", region="eu", zone="1")
            for daemon in (own, near, far):
                for n in range(5):
                    writer.publish("t", b"%d" % n)
                self.assertEqual(len(daemon.stored), 5)
                daemon.stop()
                wait_until(lambda: not self.connected(writer, daemon))

        def connected(self, writer: Any, daemon: Daemon) -> bool:
            publisher = writer.writer._publisher if isinstance(writer, AsyncForm) else writer._core.publisher
            return any(lane.address == daemon.address for lane in publisher._pool.lanes)

        def test_nobody_is_listed_and_then_one_is(self) -> None:
            writer = self.writer(lookupds=["localhost:4161"])
            with self.assertRaisesRegex(UnavailableError, "no lookupd lists a daemon that takes publishes"):
                writer.publish("t", b"a", timeout=0.2)
            daemon = self.daemon()
            self.list(daemon)
            writer.publish("t", b"b")
            self.assertEqual(daemon.stored, [b"b"])

        def test_others_are_found_when_all_are_gone(self) -> None:
            first, second = self.daemon(), self.daemon()
            self.list(first)
            writer = self.writer(lookupds=["localhost:4161"])
            writer.publish("t", b"a")
            self.stop(first, writer)
            self.listed.clear()
            self.list(second)
            writer.publish("t", b"b")
            self.assertEqual(second.stored, [b"b"])


class WriterPublishing(Both.Publishing):
    make = millrace.Writer


class AsyncWriterPublishing(Both.Publishing):
    make = AsyncForm


class WriterFinding(Both.Finding):
    make = millrace.Writer


class AsyncWriterFinding(Both.Finding):
    make = AsyncForm
