"""Messages that wait for a handler."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ._line import Line
from ._message import Message


class Ready:
    """Messages in the order in which they came, which credit bounds.

    The loop pushes; handlers, on whatever thread, take with take() or take_many(),
    which need no lock.
    """

    def __init__(self, batch_size: int = 1, batch_wait: float = 0) -> None:
        self.messages: deque[Message] = deque()
        self.closed = False  # nothing will come any more
        self.ring: Callable[[int], None] = lambda count: None  # called when so many came, with 0 when closed
        self.used_up: Callable[[], bool] = lambda: False  # whether hardly any more can come
        self._batch_size = batch_size
        self._batch_wait = batch_wait

    def push(self, messages: list[Message]) -> bool:
        """Append messages; return False, and do not take them, once closed.

        Drops what the daemon has taken back by now, which bounds the queue even if
        nobody ever takes: a daemon sends its credit again no sooner than that.
        """
        if self.closed:
            return False
        now = time.monotonic()
        while self.messages and self.messages[0]._delivery.deadline <= now:
            try:
                first = self.messages.popleft()
            except IndexError:
                break
            if first._delivery.deadline > now:  # somebody has taken the one that had expired
                self.messages.appendleft(first)
                break
            first._delivery.line.drop(first)
        self.messages.extend(messages)
        self.ring(len(messages))
        return True

    def due(self) -> float | None:
        """Return in how many seconds there is something to take; None for not yet known."""
        try:
            first = self.messages[0]
        except IndexError:
            return None
        if not self._batch_wait or len(self.messages) >= self._batch_size or self.used_up():
            return 0.0
        delivery = first._delivery
        # Half of the daemon's patience is for the handler: what waited for all of it would come again, unhandled.
        until = min(delivery.at + self._batch_wait, (delivery.at + delivery.deadline) / 2)
        return max(0.0, until - time.monotonic())

    def take(self) -> Message | None:
        """Return the next message, if there is one."""
        try:
            return self.messages.popleft()
        except IndexError:
            return None

    def take_many(self) -> list[Message]:
        """Return up to a batch of messages, none if there are none."""
        pop, batch = self.messages.popleft, []
        try:
            for _ in range(self._batch_size):
                batch.append(pop())
        except IndexError:
            pass
        return batch

    def forget(self, line: Line) -> None:
        """Drop the messages of a line whose daemon has taken them back."""
        for m in self._drain():
            if m._delivery.line is line:
                line.drop(m)
            else:
                self.messages.append(m)

    def close(self) -> list[Message]:
        """Return what is left."""
        self.closed = True
        left = self._drain()
        self.ring(0)
        return left

    def _drain(self) -> list[Message]:
        left = []
        try:
            while True:
                left.append(self.messages.popleft())
        except IndexError:
            return left
