"""How a Reader's credit is divided, and when it waits. Pure: no clock, no I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass

# TURN is how long, in seconds, a connection keeps credit when there is not
# enough for all.
TURN = 0.02


@dataclass
class Credit:
    """What one connection has of max_in_flight."""

    ready: int  # messages that the daemon may have in flight with us
    in_flight: int  # messages that it has


def share(total: int, connections: int, i: int) -> int:
    """Return the credit of connection i when total is enough for each to have some.

    The parts are equal; the first connections get what does not divide.
    """
    part, rest = divmod(total, connections)
    return part + (i < rest)


def rotate(credits: list[Credit], total: int, start: int, turn_over: bool) -> int:
    """Move credit around connections that are more than total.

    A connection that has credit loses it when the turn is over. Credit that
    nobody has, and that no unanswered message takes up, goes to the connections
    from index start on, one each. Returns where to start the next time.

    Credit taken from a connection is not given to another before the first has
    answered what it holds, or a slow handler would collect one message from every
    daemon.
    """
    free = total
    for c in credits:
        c.ready = 0 if turn_over else min(c.ready, 1)
        free -= max(c.ready, c.in_flight)
    for _ in credits:
        if free <= 0:
            break
        start %= len(credits)
        c = credits[start]
        if c.ready == 0 and c.in_flight == 0:
            c.ready = 1
            free -= 1
        start += 1
    return start


class Backoff:
    """The pauses of a whole Reader after its handler's failures, as in NSQ's clients.

    A failure has it wait, twice as long after each further one; then it takes one
    message at a time until as many have succeeded as had failed.
    """

    def __init__(self, first: float, longest: float) -> None:
        self.first = first
        self.longest = longest  # 0: never wait
        self.failures = 0  # that no success has made up for
        self.until = 0.0  # the end of the pause, by the caller's clock

    def failed(self, now: float) -> None:
        # What was handled during the pause had been delivered before it: many
        # failures at once are one.
        if not self.longest or now < self.until:
            return
        self.until = now + min(self.first * 2.0 ** min(self.failures, 64), self.longest)
        self.failures += 1

    def succeeded(self, now: float) -> bool:
        """Count a success; report whether the limit is another one now."""
        if not self.failures or now < self.until:
            return False
        self.failures -= 1
        return not self.failures

    def limit(self, total: int, now: float) -> int:
        """Return how many of total messages may be in flight now."""
        if not self.failures:
            return total
        return 0 if now < self.until else 1


class Retry:
    """How long to wait before trying a daemon again, in seconds."""

    FIRST, LONGEST = 0.1, 10.0

    def __init__(self) -> None:
        self._last = 0.0

    def next(self, lasted: float) -> float:
        """Return 0.1 s, then twice as much each time up to 10 s, varied by a quarter
        so that a daemon's readers do not all come back at once. An attempt that
        lasted longer makes it start over."""
        if not self._last or lasted > self.LONGEST:
            self._last = self.FIRST
        else:
            self._last = min(2 * self._last, self.LONGEST)
        return vary(self._last, 0.25)


def vary(seconds: float, part: float) -> float:
    """Return seconds, up to part of it shorter or longer."""
    return seconds * (1 + part * (2 * random.random() - 1))


def requeue_delay(delay: float, longest: float, attempts: int) -> float:
    """Return after how many seconds a message that failed is to come back."""
    return max(0.0, min(delay * attempts, longest))
