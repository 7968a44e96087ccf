"""Gathering, room and withdrawal, and what errors mean, as values."""

from __future__ import annotations

import unittest
from typing import Any

from millrace import ClosedError, PublishError, ServerError, UncertainError
from millrace import _outcome as outcome
from millrace._batch import Batch
from millrace._intake import Intake
from millrace._outcome import Verdict, judge


class Waiter:
    batch: Batch | None = None

    def tell(self, error: PublishError | None) -> None: ...


class IntakeCase(unittest.TestCase):
    def intake(self, **settings: Any) -> Intake:
        self.wakes = 0
        given = {"max_messages": 100, "max_bytes": 1000, "batch_messages": 3, "batch_bytes": 100, "gather": True, **settings}
        intake = Intake(clock=lambda: 1.0, **given)

        def wake() -> None:
            self.wakes += 1

        intake.wake = wake
        return intake

    def bodies(self, batches: list[Batch]) -> list[tuple[str, list[bytes]]]:
        return [(b.topic, b.bodies) for b in batches]


class Gathering(IntakeCase):
    def test_messages_of_a_topic_share_a_batch(self) -> None:
        intake = self.intake()
        for topic, body in (("t", b"a"), ("u", b"b"), ("t", b"c")):
            self.assertTrue(intake.add(topic, body, None))
        self.assertEqual(intake.collect(False), ([], True))
        batches, left = intake.collect(True)
        self.assertEqual((self.bodies(batches), left), ([("t", [b"a", b"c"]), ("u", [b"b"])], False))

    def test_a_batch_is_closed_when_it_is_full(self) -> None:
        for bodies in ([b"a", b"b", b"c"], [b"x" * 60, b"y" * 60]):
            intake = self.intake()
            for body in [*bodies, b"next"]:
                intake.add("t", body, None)
            batches, left = intake.collect(False)
            self.assertEqual((self.bodies(batches), left), ([("t", bodies)], True))

    def test_without_gathering_each_is_alone(self) -> None:
        intake = self.intake(gather=False)
        for body in (b"a", b"b"):
            intake.add("t", body, None)
        self.assertEqual(self.bodies(intake.collect(False)[0]), [("t", [b"a"]), ("t", [b"b"])])

    def test_a_batch_of_its_own_keeps_the_order(self) -> None:
        intake = self.intake()
        intake.add("t", b"a", None)
        intake.add_batch("t", [b"b", b"c", b"d", b"e"], None, size=4)
        intake.add("t", b"f", None)
        got = self.bodies(intake.collect(True)[0])
        self.assertEqual(got, [("t", [b"a"]), ("t", [b"b", b"c", b"d", b"e"]), ("t", [b"f"])])

    def test_it_wakes_once_and_then_for_full_batches_alone(self) -> None:
        intake = self.intake()
        for body in (b"a", b"b"):
            intake.add("t", body, None)
        self.assertEqual(self.wakes, 1)
        intake.collect(False)  # and will be called in time for what is open
        intake.add("u", b"c", None)
        self.assertEqual(self.wakes, 1)
        intake.add("t", b"d", None)
        self.assertEqual(self.wakes, 2)
        intake.add_batch("u", [b"e"], None, size=1)
        self.assertEqual(self.wakes, 2)

    def test_commands(self) -> None:
        intake = self.intake()
        intake.add("t", b"a", None)
        intake.add_batch("t", [b"b", b"cd"], None, size=3)
        intake.add_batch("t", [b"e"], None, size=1, delay=2.5)
        commands = [b.command() for b in intake.collect(True)[0]]
        self.assertEqual(
            commands,
            [b"PUB t\n\0\0\0\1a", b"MPUB t\n\0\0\0\x0f\0\0\0\2\0\0\0\1b\0\0\0\2cd", b"DPUB t 2500\n\0\0\0\1e"],
        )


class Room(IntakeCase):
    def test_messages_and_bytes_are_bounded(self) -> None:
        intake = self.intake(max_messages=2)
        self.assertEqual([intake.add("t", b"a", None) for _ in range(3)], [True, True, False])
        intake = self.intake(max_bytes=10)
        self.assertEqual([intake.add("t", b"x" * 6, None) for _ in range(2)], [True, False])
        self.assertEqual(intake.in_flight, (1, 6))

    def test_what_is_larger_goes_alone(self) -> None:
        intake = self.intake(max_messages=2)
        self.assertTrue(intake.add_batch("t", [b"x"] * 5, None, size=5))
        self.assertFalse(intake.add("t", b"y", None))

    def test_nobody_goes_past_those_who_wait(self) -> None:
        intake = self.intake(max_messages=2)
        intake.add("t", b"a", None)
        intake.add("t", b"b", None)
        (batch,) = intake.collect(True)[0]
        woken: list[str] = []
        large = intake.stand_in_line(5, 5, lambda: woken.append("large"))
        small = intake.stand_in_line(1, 1, lambda: woken.append("small"))
        self.assertFalse(intake.add("t", b"c", None))
        intake.finish(batch)
        self.assertEqual((woken, large.granted, small.granted), (["large"], True, False))
        intake.leave_line(large)
        self.assertEqual((woken, small.granted, intake.in_flight), (["large", "small"], True, (1, 1)))
        self.assertTrue(intake.add("t", b"c", None, granted=True))
        self.assertEqual(intake.in_flight, (1, 1))

    def test_close_wakes_who_waits(self) -> None:
        intake = self.intake(max_messages=1)
        intake.add("t", b"a", None)
        woken: list[int] = []
        ticket = intake.stand_in_line(1, 1, lambda: woken.append(1))
        intake.close()
        self.assertEqual((woken, ticket.granted), ([1], False))
        with self.assertRaises(ClosedError):
            intake.add("t", b"a", None)
        with self.assertRaises(ClosedError):
            intake.stand_in_line(1, 1, lambda: None)


class Withdrawal(IntakeCase):
    def three(self, intake: Intake) -> tuple[list[Waiter], Batch]:
        waiters = [Waiter() for _ in range(3)]
        for waiter, body in zip(waiters, (b"a", b"bb", b"c")):
            intake.add("t", body, waiter)
        ((batch,), _) = intake.collect(True)
        return waiters, batch

    def test_of_what_is_not_sent(self) -> None:
        intake = self.intake()
        waiters, batch = self.three(intake)
        self.assertIs(intake.withdraw(waiters[1]), batch)
        self.assertEqual((batch.bodies, intake.in_flight), ([b"a", b"c"], (2, 2)))
        self.assertIsNone(intake.withdraw(waiters[1]))

    def test_of_what_is_on_its_way(self) -> None:
        intake = self.intake()
        waiters, batch = self.three(intake)
        batch.out = True
        intake.withdraw(waiters[1])
        self.assertEqual((batch.count, intake.in_flight), (3, (3, 4)))
        batch.out = False  # it comes back
        intake.purge(batch)
        self.assertEqual((batch.bodies, batch.bytes, intake.in_flight), ([b"a", b"c"], 2, (2, 2)))
        intake.finish(batch)
        self.assertEqual(intake.in_flight, (0, 0))

    def test_of_a_whole_batch(self) -> None:
        for out in (False, True):
            intake = self.intake()
            waiter = Waiter()
            intake.add_batch("t", [b"a", b"b"], waiter, size=2)
            ((batch,), _) = intake.collect(True)
            batch.out = out
            intake.withdraw(waiter)
            batch.out = False
            intake.purge(batch)
            self.assertEqual((batch.items, intake.in_flight), ([], (0, 0)))

    def test_of_what_was_split(self) -> None:
        intake = self.intake()
        waiters, batch = self.three(intake)
        other = intake.split(batch)
        self.assertEqual((batch.bodies, other.bodies, batch.bytes, other.bytes), ([b"a"], [b"bb", b"c"], 1, 3))
        intake.withdraw(waiters[2])
        self.assertEqual(other.bodies, [b"bb"])
        intake.finish(batch, other)
        self.assertEqual(intake.in_flight, (0, 0))


class Marks(IntakeCase):
    def test_are_reached_when_all_that_was_before_is_finished(self) -> None:
        intake = self.intake()
        reached: list[str] = []
        intake.mark(lambda: reached.append("nothing"))
        for body in (b"a", b"b", b"c", b"d"):
            intake.add("t", body, None)
        intake.mark(lambda: reached.append("four"))
        (first, second), left = intake.collect(False)  # a mark has everything collected
        self.assertFalse(left)
        intake.add("t", b"later", None)
        other = intake.split(first)
        for batch in (first, second):
            intake.finish(batch)
            self.assertEqual(reached, ["nothing"])
        intake.finish(other)
        self.assertEqual(reached, ["nothing", "four"])


class Errors(unittest.TestCase):
    def batch(self, count: int = 2, whole: bool = False) -> Batch:
        batch = Batch("t", 0)
        batch.items, batch.whole, batch.address = [b"", b"x", None] * count, whole, "a:1"
        return batch

    def test_what_a_daemons_error_means(self) -> None:
        draining = "MPUB failed DRAINING: gone soon"
        for code, text, whole_batches, batch, want in (
            ("E_PUB_FAILED", "PUB failed full", False, self.batch(1), Verdict.FAILED),
            ("E_DPUB_FAILED", "DPUB failed full", False, self.batch(1), Verdict.FAILED),
            ("E_AUTH_FAILED", "AUTH failed", False, self.batch(), Verdict.FAILED),
            ("E_MPUB_FAILED", "MPUB failed full", False, self.batch(), Verdict.UNCERTAIN),
            ("E_MPUB_FAILED", "MPUB failed full", True, self.batch(), Verdict.FAILED),
            ("E_MPUB_FAILED", draining, False, self.batch(), Verdict.FAILED),
            ("E_BAD_MESSAGE", "too big", False, self.batch(), Verdict.DIVISIBLE),
            ("E_BAD_MESSAGE", "too big", False, self.batch(1), Verdict.REFUSED),
            ("E_BAD_MESSAGE", "too big", False, self.batch(whole=True), Verdict.REFUSED),
            ("E_BAD_BODY", "too big", False, self.batch(), Verdict.DIVISIBLE),
            ("E_BAD_TOPIC", "", False, self.batch(), Verdict.REFUSED),
            ("E_UNAUTHORIZED", "", False, self.batch(), Verdict.REFUSED),
            ("E_INVALID", "", False, self.batch(), Verdict.REFUSED),
            ("", "", False, self.batch(), Verdict.REFUSED),
        ):
            self.assertIs(judge(ServerError(code, text), batch, whole_batches), want, (code, text))

    def test_a_doubt_stays(self) -> None:
        batch = self.batch()
        self.assertEqual(str(outcome.failed(batch, OSError("gone"))), "publish to t was not stored: gone")
        batch.doubt = OSError("cut off")
        for error in (outcome.failed(batch, OSError("gone")), outcome.refusal(batch, OSError("no"))):
            self.assertIsInstance(error, UncertainError)
            self.assertEqual(str(error), "publish to t may or may not have been stored by a:1: cut off")
            self.assertIs(error.__cause__, batch.doubt)

    def test_each_has_an_error_of_his_own(self) -> None:
        error = outcome.failed(self.batch(), OSError("gone"))
        other = outcome.again(error)
        self.assertIsNot(other, error)
        self.assertEqual((str(other), other.topic, other.address, other.__cause__), (str(error), "t", "a:1", error.__cause__))
        self.assertTrue(other.retryable)
