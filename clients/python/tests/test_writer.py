"""Writer and AsyncWriter against daemons to play with."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from typing import Any
from unittest import mock

import millrace
from millrace import ClosedError, RefusedError, UnavailableError, UncertainError
from tests.publishing import (
    CUT,
    HEARTBEAT,
    OK,
    PATIENCE,
    AsyncForm,
    Case,
    Command,
    Daemon,
    Outcomes,
    frame,
    refusal,
    wait_until,
)

#: A port on which nobody listens.
NOBODY = "127.0.0.1:1"


class Both:
    """Tests of both forms."""

    class Form(Case):
        make: Any

        def writer(self, *addresses: str | Daemon, **settings: Any) -> Any:
            named = [a if isinstance(a, str) else a.address for a in addresses]
            writer = self.make(named, **settings)

            def close() -> None:
                try:
                    writer.close()
                except TimeoutError:
                    pass

            self.addCleanup(close)
            return writer

        def stop(self, daemon: Daemon, writer: Any) -> None:
            """Has the daemon crash, and the writer notice it."""
            daemon.stop()
            wait_until(lambda: writer.stats().connections == 0)

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

    class Failing(Form):
        def test_nobody_listens(self) -> None:
            writer = self.writer(NOBODY)
            with self.assertRaises(UnavailableError) as unavailable:
                writer.publish("t", b"a", timeout=0.3)
            error = unavailable.exception
            self.assertRegex(str(error), "publish to t was not stored .no answer within 0.3 s.: connecting to 127.0.0.1:1: ")
            self.assertTrue(error.retryable and isinstance(error.__cause__, millrace.ConnectionFailed))
            self.assertEqual((writer.stats().in_flight, writer.stats().unavailable), (0, 1))

        def test_retry_for(self) -> None:
            for retry_for in (0, 0.2):
                with self.assertRaises(UnavailableError):
                    self.writer(NOBODY, retry_for=retry_for).publish("t", b"a")

        def test_one_attempt_is_not_put_off_for_the_failures_before(self) -> None:
            daemon = self.daemon()
            writer = self.writer(daemon, retry_for=0)
            writer.publish("t", b"a")
            self.stop(daemon, writer)
            with mock.patch("millrace._pool._FIRST_PAUSE", 1000), mock.patch("millrace._pool._LONGEST_PAUSE", 1000):
                for _ in range(3):
                    with self.assertRaises(UnavailableError):
                        writer.publish("t", b"b")
                daemon.start()
                writer.publish("t", b"c")
            self.assertEqual(daemon.stored, [b"a", b"c"])

        def test_one_attempt_of_what_gathers(self) -> None:
            writer = self.writer(NOBODY, retry_for=0, linger=0.001)
            outcomes = Outcomes()
            with mock.patch("millrace._pool._FIRST_PAUSE", 1000), mock.patch("millrace._pool._LONGEST_PAUSE", 1000):
                for n in range(300):
                    writer.publish_async("t", b"%d" % n, outcomes)
                self.assertEqual({type(e) for e in outcomes.wait(300)}, {UnavailableError})

        def test_nobody_can_say_whether_we_have_the_right(self) -> None:
            away = self.daemon(lambda c: refusal("E_AUTH_FAILED AUTH failed"), auth_required=True)
            with self.assertRaisesRegex(UnavailableError, "E_AUTH_FAILED"):
                self.writer(away, auth_secret="sesame", retry_for=0).publish("t", b"a")

        def test_another_daemon_is_there(self) -> None:
            daemon = self.daemon()
            self.writer(NOBODY, daemon).publish("t", b"a")
            self.assertEqual(daemon.stored, [b"a"])

        def test_a_daemon_comes_back(self) -> None:
            daemon = self.daemon()
            writer = self.writer(daemon)
            writer.publish("t", b"a")
            self.stop(daemon, writer)
            late = self.in_thread(lambda: writer.publish("t", b"b"))
            wait_until(lambda: writer.stats().in_flight == 1)
            daemon.start()
            late()
            self.assertEqual(daemon.stored, [b"a", b"b"])

        def test_refused_by_the_daemon(self) -> None:
            daemon = self.daemon(lambda c: refusal("E_UNAUTHORIZED AUTH failed for PUB") if b"no" in c.bodies else OK)
            writer = self.writer(daemon)
            with self.assertRaises(RefusedError) as refused:
                writer.publish("t", b"no")
            self.assertEqual((refused.exception.address, refused.exception.retryable), (daemon.address, False))
            self.assertEqual(refused.exception.__cause__.code, "E_UNAUTHORIZED")  # type: ignore[union-attr]
            writer.publish("t", b"yes")

        def test_no_right_to_be_there(self) -> None:
            def answer(command: Command) -> bytes:
                return refusal("E_UNAUTHORIZED AUTH no authorizations found") if command.line == "AUTH" else OK

            wrong = self.daemon(answer, auth_required=True)
            with self.assertRaisesRegex(RefusedError, "refused by 127.0.0.1:.*E_UNAUTHORIZED"):
                self.writer(wrong, auth_secret="wrong").publish("t", b"a")
            right = self.daemon()
            self.writer(wrong, right, auth_secret="wrong").publish("t", b"a")
            self.assertEqual(right.stored, [b"a"])

        def test_one_that_cannot_store_is_tried_again_if_it_is_the_only_one(self) -> None:
            tried: list[Command] = []

            def answer(command: Command) -> bytes:
                tried.append(command)
                return OK if len(tried) > 2 else refusal("E_PUB_FAILED PUB failed full")

            self.writer(self.daemon(answer)).publish("t", b"a")
            self.assertEqual(len(tried), 3)

        def test_one_that_is_refused_does_not_harm_those_it_shares_a_batch_with(self) -> None:
            first = threading.Event()

            def answer(command: Command) -> bytes:
                first.wait(PATIENCE)
                return refusal("E_BAD_MESSAGE MPUB message too big") if b"large" in command.bodies else OK

            daemon = self.daemon(answer)
            writer = self.writer(daemon)
            writer.publish_async("t", b"first")
            wait_until(lambda: writer.stats().batches == 1)
            outcomes, large = Outcomes(), Outcomes()
            bodies = [b"%d" % n for n in range(20)]
            for body in bodies:
                writer.publish_async("t", body, outcomes)
            writer.publish_async("t", b"large", large)
            first.set()
            self.assertEqual(outcomes.wait(20), [None] * 20)
            self.assertIsInstance(large.wait(1)[0], RefusedError)
            daemon.wait_stored([b"first", *bodies])

        def test_a_batch_of_its_own_is_refused_as_a_whole(self) -> None:
            daemon = self.daemon(lambda c: refusal("E_BAD_MESSAGE too big") if b"large" in c.bodies else OK)
            writer = self.writer(daemon)
            with self.assertRaises(RefusedError):
                writer.publish_many("t", [b"a", b"large"])
            self.assertEqual(daemon.stored, [])

        def test_a_daemon_that_cannot_store_is_left_for_another(self) -> None:
            for text in ("E_PUB_FAILED PUB failed full", "E_PUB_FAILED PUB failed DRAINING: gone soon"):
                bad, good = self.daemon(lambda c: refusal(text)), self.daemon()
                writer = self.writer(bad, good)
                for n in range(5):
                    writer.publish("t", b"%d" % n)
                self.assertEqual(len(good.stored), 5)

        def test_a_batch_that_failed_is_uncertain_on_nsqd_alone(self) -> None:
            def answer(command: Command) -> bytes:
                return refusal("E_MPUB_FAILED MPUB failed full") if len(tried) < 1 and not tried.append(1) else OK  # type: ignore[func-returns-value]

            tried: list[int] = []
            with self.assertRaises(UncertainError):
                self.writer(self.daemon(answer)).publish_many("t", [b"a", b"b"])
            tried.clear()
            self.writer(self.daemon(answer, millrace={"whole_batches": True})).publish_many("t", [b"a", b"b"])

        def test_limits_that_were_told_are_not_tried(self) -> None:
            daemon = self.daemon(millrace={"max_msg_size": 10, "max_body_size": 100, "max_req_timeout": 1000})
            writer = self.writer(daemon)
            for call, why in (
                (lambda: writer.publish("t", b"x" * 11), "a message of 11 bytes"),
                (lambda: writer.publish_many("t", [b"x" * 10] * 10), "a batch of 144 bytes"),
                (lambda: writer.publish_deferred("t", 2, b"x"), "a delay of 2 s"),
            ):
                with self.assertRaisesRegex(RefusedError, why):
                    call()
            self.assertEqual(daemon.heard, [])

        def test_cut_off_before_the_answer(self) -> None:
            writer = self.writer(self.daemon(lambda c: CUT))
            with self.assertRaises(UncertainError) as uncertain:
                writer.publish("t", b"a")
            self.assertTrue(uncertain.exception.retryable)

        def test_retry_uncertain(self) -> None:
            tried: list[Command] = []

            def answer(command: Command) -> bytes:
                tried.append(command)
                return CUT if len(tried) < 3 else OK

            writer = self.writer(self.daemon(answer), retry_uncertain=True)
            writer.publish("t", b"a")
            self.assertEqual((len(tried), writer.stats().retried), (3, 2))

        def test_what_may_be_stored_stays_uncertain(self) -> None:
            daemon = self.daemon(lambda c: CUT)
            writer = self.writer(daemon, retry_uncertain=True, retry_for=0.3)
            late = self.in_thread(lambda: writer.publish("t", b"a"))
            daemon.wait(lambda: daemon.heard or True)
            wait_until(lambda: writer.stats().batches >= 1)
            with self.assertRaises(UncertainError):
                late()

        def test_not_answered_in_time(self) -> None:
            daemon = self.daemon(lambda c: None if c.bodies == [b"b"] else OK)
            writer = self.writer(daemon, close_timeout=0)
            writer.publish("t", b"a")
            with self.assertRaisesRegex(UncertainError, "no answer within 1 s"):
                writer.publish("t", b"b", timeout=1)

        def test_a_message_that_was_not_read_is_not_stored(self) -> None:
            daemon = self.daemon()
            writer = self.writer(daemon)
            writer.publish("t", b"a")
            daemon.reads.clear()
            writer.publish_async("t", b"b")
            late = self.in_thread(lambda: writer.publish_many("t", [b"x" * 16_000_000]))
            wait_until(lambda: writer.stats().batches == 3)
            daemon.stop()
            daemon.start()
            late()
            self.assertEqual(daemon.stored.count(b"x" * 16_000_000), 1)

        def test_a_daemon_that_does_not_read_is_left(self) -> None:
            daemon = self.daemon()
            writer = self.writer(daemon, write_timeout=0.2, retry_for=0)
            writer.publish("t", b"a")
            daemon.reads.clear()
            writer.publish_async("t", b"b")
            with self.assertRaisesRegex(UnavailableError, "has read nothing of what was sent"):
                writer.publish_many("t", [b"x" * 16_000_000])

        def test_garbage_for_an_answer(self) -> None:
            for garbage in (b"\xff" * 12, b"\x7f\xff\xff\xff\0\0\0\0", frame(2, b"x" * 30), frame(0, b"FINE"), frame(7, b"OK")):
                daemon = self.daemon(lambda c: garbage if c.bodies == [b"a"] else OK)
                writer = self.writer(daemon)
                with self.assertRaises(UncertainError):
                    writer.publish("t", b"a")
                writer.publish("t", b"b")

        def test_an_answer_to_nothing(self) -> None:
            daemon = self.daemon(lambda c: OK + OK)
            writer = self.writer(daemon)
            writer.publish("t", b"a")
            wait_until(lambda: self.log.having("to a publisher who waits for OK"))
            writer.publish("t", b"b")

    class Living(Form):
        def test_heartbeats_are_answered_while_a_callback_blocks(self) -> None:
            if self.make is AsyncForm:
                self.skipTest("its callbacks run on the loop")
            daemon = self.daemon()
            writer, go, entered = self.writer(daemon), threading.Event(), threading.Event()

            def block(error: object) -> None:
                entered.set()
                go.wait(PATIENCE)

            writer.publish_async("t", b"a", block)
            entered.wait(PATIENCE)
            daemon.send(HEARTBEAT)
            daemon.wait(lambda: daemon.nops)
            writer.publish("t", b"b")
            go.set()

        def test_close_delivers_what_was_accepted(self) -> None:
            daemon = self.daemon()
            outcomes = Outcomes()
            with self.writer(daemon) as writer:
                for n in range(1000):
                    writer.publish_async("t", b"%d" % n, outcomes)
            self.assertEqual((len(outcomes.errors), set(outcomes.errors)), (1000, {None}))
            self.assertEqual(len(daemon.stored), 1000)

        def test_after_close(self) -> None:
            daemon = self.daemon()
            for used in (False, True):
                writer = self.writer(daemon)
                if used:
                    writer.publish("t", b"a")
                writer.close()
                writer.close()
                for call in (
                    lambda: writer.publish("t", b"a"),
                    lambda: writer.publish_many("t", [b"a"]),
                    lambda: writer.publish_async("t", b"a"),
                    lambda: writer.publish_deferred_async("t", 1, b"a"),
                ):
                    with self.assertRaises(ClosedError):
                        call()

        def test_close_tells_what_is_left(self) -> None:
            silent = self.daemon(lambda c: None)
            for address, kind, text in ((silent.address, UncertainError, "unanswered"), (NOBODY, UnavailableError, "not stored")):
                writer, outcomes = self.writer(address, close_timeout=0.2), Outcomes()
                writer.publish_async("t", b"a", outcomes)
                waiting = self.in_thread(lambda: writer.publish("t", b"b"))
                wait_until(lambda: writer.stats().in_flight == 2)
                with self.assertRaisesRegex(TimeoutError, f"2 messages .*{text}"):
                    writer.close()
                self.assertIsInstance(outcomes.wait(1)[0], kind)
                with self.assertRaises(kind):
                    waiting()

        def test_close_wakes_who_waits_for_room(self) -> None:
            writer = self.writer(NOBODY, max_in_flight=1, close_timeout=0.1)
            writer.publish_async("t", b"a")
            waiting = self.in_thread(lambda: writer.publish("t", b"b"))
            wait_until(lambda: len(self.intake(writer)._line) == 1)
            with self.assertRaises(TimeoutError):
                writer.close()
            with self.assertRaises(ClosedError):
                waiting()

        def intake(self, writer: Any) -> Any:
            return (writer.writer if isinstance(writer, AsyncForm) else writer)._intake

        def test_flush(self) -> None:
            daemon = self.daemon(lambda c: None)
            writer = self.writer(daemon, close_timeout=0)
            writer.flush()
            writer.publish_async("t", b"a")
            with self.assertRaises(TimeoutError):
                writer.flush(0.05)
            wait_until(lambda: writer.stats().batches == 1)
            daemon.send(OK)
            writer.flush()

        def test_publishes_are_spread(self) -> None:
            daemons = [self.daemon() for _ in range(3)]
            writer = self.writer(*daemons)
            writer.publish("t", b"x")
            wait_until(lambda: writer.stats().connections == 3)
            for _ in range(300):
                writer.publish_many_async("t", [b"x" * 1000] * 10)
            writer.flush()
            for daemon in daemons:
                self.assertGreater(len(daemon.stored), 1)

        def test_no_more_connections_than_wanted(self) -> None:
            daemons = [self.daemon() for _ in range(3)]
            writer = self.writer(*daemons, max_connections=1)
            for n in range(20):
                writer.publish("t", b"x")
            self.assertEqual(sorted(len(d.stored) for d in daemons), [0, 0, 20])

        def test_tls_auth_and_deflate_settings_reach_the_wire(self) -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(os.path.join(os.path.dirname(__file__), "localhost.pem"))
            daemon = self.daemon(tls=context, auth_required=True)
            daemon.answer = lambda c: frame(0, b"{}") if c.line == "AUTH" else OK
            trust = ssl.create_default_context(cafile=os.path.join(os.path.dirname(__file__), "localhost.pem"))
            writer = self.writer(daemon, tls=trust, auth_secret="sesame")
            writer.publish_many("t", [b"x" * 1000] * 1000)
            self.assertEqual(daemon.lines, ["AUTH", "MPUB t"])
            writer.close()
            with self.assertRaisesRegex(UnavailableError, "certificate"):
                self.writer(daemon, tls=True, auth_secret="sesame").publish("t", b"a", timeout=1)


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


class WriterFinding(Both.Finding):
    make = millrace.Writer


class AsyncWriterFinding(Both.Finding):
    make = AsyncForm


class WriterPublishing(Both.Publishing):
    make = millrace.Writer


class AsyncWriterPublishing(Both.Publishing):
    make = AsyncForm


class WriterFailing(Both.Failing):
    make = millrace.Writer


class AsyncWriterFailing(Both.Failing):
    make = AsyncForm


class WriterLiving(Both.Living):
    make = millrace.Writer


class AsyncWriterLiving(Both.Living):
    make = AsyncForm


class WithThreads(Case):
    """What Writer alone has to see to."""

    def test_many_threads_share_commands(self) -> None:
        daemon = self.daemon()
        with millrace.Writer(daemon.address) as writer:

            def publish(name: int) -> None:
                for n in range(50):
                    writer.publish("t", b"%d-%d" % (name, n))

            for join in [self.in_thread(lambda name=name: publish(name)) for name in range(16)]:
                join()
            self.assertLess(writer.stats().batches, 800)
        daemon.wait_stored(b"%d-%d" % (a, n) for a in range(16) for n in range(50))

    def test_callbacks_may_publish_even_if_there_is_no_room(self) -> None:
        daemon = self.daemon()
        with millrace.Writer(daemon.address, max_in_flight=1) as writer:
            outcomes = Outcomes()

            def again(error: object) -> None:
                writer.publish_async("t", b"again", outcomes)
                outcomes(None)

            writer.publish_async("t", b"a", again)
            self.assertEqual(outcomes.wait(2), [None, None])
            refused: list[Exception] = []

            def wait(error: object) -> None:
                for method in (writer.flush, writer.close):
                    try:
                        method()
                    except RuntimeError as e:
                        refused.append(e)

            writer.publish_async("t", b"b", wait)
            writer.flush()
            self.assertEqual(len(refused), 2)

    def test_a_hook_must_not_wait_for_what_calls_it(self) -> None:
        refused: list[Exception] = []

        def hook(published: object) -> None:
            for call in (lambda: writer.publish("t", b"again"), writer.flush, writer.close):
                try:
                    call()
                except RuntimeError as e:
                    refused.append(e)

        with millrace.Writer(self.daemon().address, on_publish=hook) as writer:
            writer.publish("t", b"a")
        self.assertEqual(len(refused), 3)

    def test_ctrl_c(self) -> None:
        daemon = self.daemon(lambda c: None)
        main = threading.get_ident()
        with self.assertRaises(TimeoutError), millrace.Writer([daemon.address], close_timeout=0.1) as writer:
            for wanted in (1, 2):

                def interrupt() -> None:
                    daemon.wait(lambda: len(daemon.heard) == wanted)
                    signal.pthread_kill(main, signal.SIGINT)

                join = self.in_thread(interrupt)
                with self.assertRaises(KeyboardInterrupt):
                    writer.publish("t", b"%d" % wanted)
                join()
        self.assertEqual(daemon.stored, [b"1", b"2"])

    def test_a_writer_that_is_forgotten_ends(self) -> None:
        daemon = self.daemon()
        writer = millrace.Writer(daemon.address)
        for n in range(100):
            writer.publish_async("t", b"%d" % n)
        del writer
        daemon.wait(lambda: len(daemon.stored) == 100)

    def program(self, text: str, daemon: Daemon) -> subprocess.CompletedProcess[str]:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", text, daemon.address],
            cwd=folder, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def test_a_program_that_forgets_to_close(self) -> None:
        daemon = self.daemon()
        for ending in ("", "raise SystemExit(0)", "1 / 0"):
            daemon.heard.clear()
            ran = self.program(
                "import sys, threading, time, millrace\n"
                "writer = millrace.Writer(sys.argv[1])\n"
                "def late():\n"
                "    for n in range(100): writer.publish_async('t', b'%d' % n, lambda e: print('told', e))\n"
                "writer.publish('t', b'first')\n"
                f"threading.Thread(target=late).start()\n{ending}\n",
                daemon,
            )
            daemon.wait(lambda: len(daemon.stored) == 101)
            self.assertEqual((ran.stdout.count("told None"), "Traceback" in ran.stderr), (100, "1 / 0" in ending), ran)

    def test_a_program_that_ends_while_nobody_listens(self) -> None:
        ran = self.program(
            "import millrace\n"
            "writer = millrace.Writer('127.0.0.1:1', close_timeout=0.2)\n"
            "writer.publish_async('t', b'x')\n",
            self.daemon(),
        )
        self.assertEqual(ran.returncode, 0)
        self.assertIn("1 messages that were not stored", ran.stderr)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_a_fork(self) -> None:
        daemon = self.daemon()
        ran = self.program(
            "import os, sys, tempfile, millrace\n"
            "folder = tempfile.TemporaryDirectory()\n"
            "spooling = millrace.Writer(sys.argv[1], spool=folder.name)\n"
            "unused, writer = millrace.Writer(sys.argv[1]), millrace.Writer(sys.argv[1])\n"
            "writer.publish('t', b'parent')\n"
            "if os.fork() == 0:\n"
            "    unused.publish('t', b'child')\n"
            "    unused.close()\n"
            "    late = spooling.publish, writer.publish\n"
            "    for call in (*(lambda f=f: f('t', b'x') for f in late), writer.close, writer.flush):\n"
            "        try: call()\n"
            "        except RuntimeError as e: print(e)\n"
            "    sys.stdout.flush()\n"
            "    os._exit(0)\n"
            "os.wait()\n"
            "spooling.close()\n"
            "writer.publish('t', b'parent')\n"
            "writer.close()\n",
            daemon,
        )
        self.assertEqual(ran.stdout.count("make a new one in each process, after the fork"), 4, ran)
        self.assertEqual(sorted(daemon.stored), [b"child", b"parent", b"parent"])


class OnALoop(Case):
    """What AsyncWriter alone has to see to."""

    def run_async(self, work: Any) -> Any:
        return asyncio.run(asyncio.wait_for(work, PATIENCE))

    def test_tasks_share_commands(self) -> None:
        daemon = self.daemon()

        async def main() -> None:
            async with millrace.AsyncWriter(daemon.address) as writer:
                await writer.publish("t", b"first")
                await asyncio.gather(*(writer.publish("t", b"%d" % n) for n in range(500)))
                self.assertLessEqual(writer.stats().batches, 50)

        self.run_async(main())
        self.assertEqual(len(daemon.stored), 501)

    def test_cancellation_takes_back_what_is_not_sent(self) -> None:
        async def main() -> None:
            async with millrace.AsyncWriter(NOBODY, max_in_flight=1) as writer:
                task = asyncio.create_task(writer.publish("t", b"a"))
                waiting = asyncio.create_task(writer.publish("t", b"b"))
                while writer.stats().in_flight < 1:
                    await asyncio.sleep(0)
                for t in (waiting, task):
                    t.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await t
                self.assertEqual(writer.stats().in_flight, 0)

        self.run_async(main())

    def test_of_another_loop(self) -> None:
        daemon = self.daemon()
        writer = millrace.AsyncWriter(daemon.address)
        self.run_async(writer.publish("t", b"a"))
        with self.assertRaisesRegex(RuntimeError, "another event loop"):
            self.run_async(writer.publish("t", b"a"))
        writer._closing = object()  # type: ignore[assignment] # its loop is gone, and all it had with it


class Spools(Both.Form):
    make = millrace.Writer

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "spool")

    def spooling(self, *addresses: Any, **settings: Any) -> Any:
        return self.writer(*addresses, spool=self.path, spool_after=0.05, **settings)

    def test_an_outage(self) -> None:
        daemon = self.daemon()
        writer = self.spooling(daemon)
        writer.publish("t", b"0")
        wait_until(lambda: writer.stats().spooled == 0)
        self.stop(daemon, writer)
        for n in range(1, 4):
            writer.publish("t", b"%d" % n)
        writer.publish_many("u", [b"4", b"5"])
        self.assertGreaterEqual(writer.stats().spooled, 1)
        daemon.start()
        wait_until(lambda: writer.stats().spooled == 0)
        writer.publish("t", b"6")
        self.assertEqual(daemon.stored, [b"%d" % n for n in range(7)])
        self.assertEqual(writer.stats().published, 7)

    def test_a_restart_in_an_outage(self) -> None:
        daemon = self.daemon()
        daemon.stop()
        for n in range(3):
            writer = self.spooling(daemon)
            writer.publish("t", b"%d" % n)
            writer.close()
        daemon.start()
        writer = self.spooling(daemon)
        daemon.wait_stored([b"0", b"1", b"2"])  # though nothing is published
        writer.publish("t", b"3")
        wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"0", b"1", b"2", b"3"])

    def test_close_spools_what_is_not_sent(self) -> None:
        writer, outcomes = self.writer(NOBODY, spool=self.path, spool_after=100, close_timeout=0.05), Outcomes()
        writer.publish_async("t", b"a", outcomes)
        writer.close()
        self.assertEqual(outcomes.errors, [None])
        spool = millrace.DirectorySpool(self.path)
        self.assertEqual(len(spool), 1)
        spool.close()

    def test_a_record_that_is_refused_is_dropped_and_told(self) -> None:
        daemon = self.daemon(lambda c: refusal("E_BAD_MESSAGE too big") if b"large" in c.bodies else OK)
        daemon.stop()
        writer = self.spooling(daemon)
        for body in (b"a", b"large", b"b"):
            writer.publish("t", body)
        daemon.start()
        wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"a", b"b"])
        self.assertTrue(self.log.having("1 spooled messages are dropped"))

    def test_what_was_delivered_and_cannot_be_dropped_is_not_sent_again(self) -> None:
        class Stubborn:
            def __init__(self) -> None:
                self.records: list[bytes] = []
                self.drops = 0

            def put(self, record: bytes) -> None:
                self.records.append(record)

            def peek(self) -> bytes | None:
                return self.records[0] if self.records else None

            def drop(self) -> None:
                self.drops += 1
                if self.drops == 1:
                    raise OSError("disk full")
                del self.records[0]

            def __len__(self) -> int:
                return len(self.records)

            def close(self) -> None: ...

        daemon = self.daemon()
        daemon.stop()
        writer = self.writer(daemon, spool=Stubborn(), spool_after=0)
        writer.publish("t", b"a")
        with mock.patch("millrace._spooler._PAUSE", 0.01):
            daemon.start()
            wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"a"])

    def test_a_spool_that_fails(self) -> None:
        class Full:
            def put(self, record: bytes) -> None:
                raise OSError("disk full")

            def peek(self) -> None:
                return None

            def drop(self) -> None: ...

            def __len__(self) -> int:
                return 0

            def close(self) -> None: ...

        writer = self.writer(NOBODY, spool=Full(), spool_after=0)
        with self.assertRaisesRegex(UnavailableError, "disk full"):
            writer.publish("t", b"a")


class AsyncSpools(Spools):
    make = AsyncForm
