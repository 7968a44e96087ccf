"""Writer and AsyncWriter when daemons fail, and how they live and end."""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import Any
from unittest import mock

import millrace
from millrace import ClosedError, RefusedError, UnavailableError, UncertainError
from tests.publishing import CUT, HEARTBEAT, OK, PATIENCE, AsyncForm, Command, Outcomes, frame, refusal, wait_until
from tests.writers import NOBODY, Form


class Both:
    """Tests of both forms, which are not cases themselves."""

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

        def test_too_early_is_published_when_the_daemon_has_said(self) -> None:
            until = 0.0
            refused: list[Command] = []

            def answer(command: Command) -> bytes:
                left = until - time.monotonic()
                if left <= 0:
                    return OK
                refused.append(command)
                verb = command.line.split()[0]
                return refusal(
                    f"E_{verb}_FAILED {verb} failed RATE_LIMITED: topic t takes 10 messages a second; again in {left:.6f}s"
                )

            daemon = self.daemon(answer, millrace={"whole_batches": True})
            writer = self.writer(daemon)
            for n, publish in enumerate((
                lambda body: writer.publish("t", body),
                lambda body: writer.publish_many("t", [body]),
                lambda body: writer.publish_deferred("t", 0.001, body),
            )):  # fmt: skip
                refused.clear()
                publish(b"before %d" % n)
                # A guess of our own would be over long before, or be made many times.
                until = time.monotonic() + 0.8
                publish(b"early %d" % n)
                self.assertGreaterEqual(time.monotonic(), until)
                self.assertEqual(len(refused), 1)
            self.assertEqual(daemon.stored, [b"%s %d" % (when, n) for n in range(3) for when in (b"before", b"early")])

        def test_one_that_has_room_takes_what_another_does_not(self) -> None:
            text = "E_PUB_FAILED PUB failed RATE_LIMITED: client 10.0.0.1 may publish 10 bytes a second; again in 16m40s"
            full, roomy = self.daemon(lambda c: refusal(text)), self.daemon()
            writer = self.writer(full, roomy)
            for n in range(5):
                writer.publish("t", b"%d" % n)
            self.assertEqual(len(roomy.stored), 5)

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


class WriterFailing(Both.Failing):
    make = millrace.Writer


class AsyncWriterFailing(Both.Failing):
    make = AsyncForm


class WriterLiving(Both.Living):
    make = millrace.Writer


class AsyncWriterLiving(Both.Living):
    make = AsyncForm
