"""How long a Reader waits, for what. Pure: no clock, no I/O. Times are in seconds."""

from __future__ import annotations

import random


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

    def failed(self, now: float) -> bool:
        """Count a failure; report whether a pause begins.

        What fails during one was delivered before it, and says nothing new. Failures
        after which pauses cannot grow any more need not be made up for one by one.
        """
        if not self.longest or now < self.until:
            return False
        if not self.failures or self._pause() < self.longest:
            self.failures += 1
        self.until = now + self._pause()
        return True

    def _pause(self) -> float:
        return min(self.first * 2.0 ** min(self.failures - 1, 64), self.longest)

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
