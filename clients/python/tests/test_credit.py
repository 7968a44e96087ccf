"""Credit, pauses and delays as values."""

from __future__ import annotations

import random
import unittest

from millrace._credit import PROBE, Share, divide
from millrace._pace import Backoff, Retry, requeue_delay


def shares(text: str) -> list[Share]:
    """Connections that have been given ready for long, of which some are hungry:
    "10 10! 3/7" is two with 10, the second one hungry, and one with 3 that had up to
    7 in flight."""
    result = []
    for word in text.split():
        ready, _, peak = word.rstrip("!").partition("/")
        s = Share(limit=2500, ready=int(ready), peak=int(peak or 0), hungry=word.endswith("!"))
        if s.hungry:
            s.in_flight = s.peak = s.ready
        result.append(s)
    return result


class Divide(unittest.TestCase):
    def test_at_one_moment(self) -> None:
        """And again when everything is answered."""
        for what, total, before, want, answered in (
            ("one connection", 200, "0", "200", ""),
            ("what does not divide", 200, "0 0 0", "67 67 66", ""),
            ("nobody is hungry", 200, "181 1 9 9", "181 1 9 9", ""),
            ("one has all the traffic", 200, "50! 50 50 50", "197 1 1 1", ""),
            ("all have", 200, "50! 50! 50! 50!", "50 50 50 50", ""),
            ("a second one gets its part", 200, "197! 1! 1 1", "99 1 1 1", "99 99 1 1"),
            ("a modest one keeps enough", 100, "25! 25/10 25 25", "73 25 1 1", ""),
            ("one keeps twice what it used", 100, "25! 25/3 25 25", "92 6 1 1", ""),
            ("less than before", 10, "50 50 50 50", "3 3 2 2", ""),
            ("none at all", 0, "50! 50 50 50", "0 0 0 0", ""),
            ("more connections than credit", 2, "0 0 0 0", "1 1 0 0", ""),
            ("as many as credit", 3, "0 0 0", "1 1 1", ""),
            ("crowded, one has the traffic", 4, "2! 1 1", "4 0 0", ""),
        ):
            with self.subTest(what):
                lines = shares(before)
                divide(lines, total, 3600)
                self.assertEqual(" ".join(str(s.ready) for s in lines), want)
                for s in lines:
                    s.in_flight = 0
                divide(lines, total, 3600)
                if answered:
                    self.assertEqual(" ".join(str(s.ready) for s in lines), answered)

    def test_no_more_than_a_daemon_allows(self) -> None:
        lines = [Share(limit=2500), Share(limit=1), Share(limit=3)]
        divide(lines, 200, 1)
        self.assertEqual([s.ready for s in lines], [196, 1, 3])
        self.assertIsNone(divide(lines, 200, 2))

    def test_at_random(self) -> None:
        """Daemons take and answer messages at random: credit is never exceeded, and
        whoever has something gets to hand it out in time."""
        for seed in range(12):
            with self.subTest(seed):
                self.play(random.Random(seed))

    def play(self, rnd: random.Random) -> None:
        total = rnd.randint(1, 12)
        daemons = [Played(rnd) for _ in range(rnd.randint(1, 30))]
        lines = [d.share for d in daemons]
        again: float | None = 0.0
        for step in range(2000):
            now = 1000 + step / 1000
            changed = [d.step(now) for d in daemons]
            if any(changed) or (again is not None and now >= again):
                again = divide(lines, total, now)
                for s in lines:
                    s.peak, s.hungry = s.in_flight, False
            self.assertLessEqual(sum(max(s.ready, s.in_flight) for s in lines), total)
        self.assertLess(max(d.worst for d in daemons), 1.5)


class Played:
    """A connection's other end: a backlog, and a handler that takes as long as it likes."""

    def __init__(self, rnd: random.Random) -> None:
        self.share = Share(limit=2500)
        self.worst = 0.0  # seconds with a backlog that nobody took from
        self._rnd = rnd
        self._backlog = 0
        self._latest = 1000.0  # when it was last without backlog, or handed out something

    def step(self, now: float) -> bool:
        """Let a millisecond pass; return whether a connection would tell of it."""
        s, changed = self.share, False
        if s.in_flight and self._rnd.random() < 0.2:
            changed = s.in_flight > s.ready
            s.in_flight -= 1
            if not s.in_flight:
                s.heard = now
        if self._rnd.random() < 0.005:
            self._backlog = self._rnd.randrange(50)
        if not self._backlog:
            self._latest = now
        elif s.ready > s.in_flight:
            self._backlog -= 1
            s.in_flight += 1
            s.heard = self._latest = now
            s.peak = max(s.peak, s.in_flight)
            s.hungry = s.in_flight >= s.ready
        else:
            self.worst = max(self.worst, now - self._latest)
        return changed or s.hungry


class Idle(unittest.TestCase):
    def test_probes_go_around_and_rest(self) -> None:
        lines = [Share(limit=2500) for _ in range(3)]
        now, had = 1000.0, []
        for _ in range(12):
            again = divide(lines, 1, now)
            had.append([s.ready for s in lines])
            assert again is not None
            self.assertGreater(again, now)
            now = again
        self.assertEqual(had[:4], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
        self.assertLess(now, 1000 + 12 * (0.2 + PROBE))


class Backoffs(unittest.TestCase):
    def test_doubles_and_recovers(self) -> None:
        b = Backoff(1, 3)
        self.assertEqual(b.limit(10, 0), 10)
        self.assertTrue(b.failed(0))
        self.assertEqual((b.limit(10, 0.5), b.limit(10, 1)), (0, 1))
        self.assertFalse(b.failed(0.5))  # it had been delivered before
        self.assertTrue(b.failed(1))
        self.assertEqual(b.until, 3)
        self.assertTrue(b.failed(3))
        self.assertEqual(b.until, 6)  # 4 s would be too long
        self.assertFalse(b.succeeded(5))
        self.assertEqual([b.succeeded(6) for _ in range(4)], [False, False, True, False])
        self.assertEqual(b.limit(10, 6), 10)

    def test_unless_wanted(self) -> None:
        b = Backoff(1, 0)
        self.assertFalse(b.failed(0))
        self.assertEqual(b.limit(10, 0), 10)

    def test_an_outage_need_not_be_made_up_for(self) -> None:
        b = Backoff(1, 4)
        for i in range(1000):
            b.failed(10.0 * i)
        self.assertEqual([b.succeeded(1e9) for _ in range(4)], [False, False, True, False])

    def test_extremes(self) -> None:
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
