"""Credit, pauses and queues as values."""

from __future__ import annotations

import unittest

from millrace._credit import Backoff, Credit, Retry, requeue_delay, rotate, share


class Share(unittest.TestCase):
    def test_even(self) -> None:
        for total, n in ((200, 1), (7, 3), (3, 3), (10, 4)):
            parts = [share(total, n, i) for i in range(n)]
            self.assertEqual(sum(parts), total)
            self.assertLessEqual(max(parts) - min(parts), 1)


class Rotate(unittest.TestCase):
    def test_goes_around(self) -> None:
        lines = [Credit(0, 0) for _ in range(5)]
        seen, start = [], 0
        for _ in range(5):
            start = rotate(lines, 2, start, True)
            seen.append([c.ready for c in lines])
        self.assertEqual(
            seen, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]
        )

    def test_what_is_unanswered_takes_up_credit(self) -> None:
        lines = [Credit(1, 1), Credit(0, 0), Credit(0, 0)]
        self.assertEqual(rotate(lines, 1, 1, True), 1)
        self.assertEqual([c.ready for c in lines], [0, 0, 0])
        lines[0].in_flight = 0
        self.assertEqual(rotate(lines, 1, 1, False), 2)
        self.assertEqual([c.ready for c in lines], [0, 1, 0])

    def test_within_a_turn_nothing_is_taken(self) -> None:
        lines = [Credit(5, 0), Credit(0, 0), Credit(0, 0)]
        rotate(lines, 2, 1, False)
        self.assertEqual([c.ready for c in lines], [1, 1, 0])


class Backoffs(unittest.TestCase):
    def test_doubles_and_recovers(self) -> None:
        b = Backoff(1, 3)
        self.assertEqual(b.limit(10, 0), 10)
        b.failed(0)
        self.assertEqual((b.limit(10, 0.5), b.limit(10, 1)), (0, 1))
        b.failed(0.5)  # during the pause: it had been delivered before
        b.failed(1)
        self.assertEqual(b.until, 3)
        b.failed(3)
        self.assertEqual(b.until, 6)  # 4 s would be too long
        self.assertFalse(b.succeeded(5))
        self.assertEqual([b.succeeded(6) for _ in range(4)], [False, False, True, False])
        self.assertEqual(b.limit(10, 6), 10)

    def test_unless_wanted(self) -> None:
        b = Backoff(1, 0)
        b.failed(0)
        self.assertEqual(b.limit(10, 0), 10)

    def test_many_failures(self) -> None:
        b = Backoff(1e-300, 5)
        for i in range(2000):
            b.failed(10.0 * i)
        self.assertEqual(b.limit(10, 1e9), 1)


class Delays(unittest.TestCase):
    def test_retry(self) -> None:
        retry = Retry()
        for want in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10):
            self.assertAlmostEqual(retry.next(0.5), want, delta=want * 0.25)
        self.assertAlmostEqual(retry.next(60), 0.1, delta=0.025)

    def test_requeue(self) -> None:
        self.assertEqual([requeue_delay(5, 300, n) for n in (1, 2, 60, 61, 65535)], [5, 10, 300, 300, 300])
        self.assertEqual(requeue_delay(0, 300, 7), 0)
