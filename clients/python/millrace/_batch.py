"""Messages of one topic that are sent together, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Union

from . import _wire
from ._errors import PublishError

#: What is called with the outcome of a publish: None, or why it is not stored.
Done = Callable[[Union[PublishError, None]], object]


class Waiter(Protocol):
    """Somebody who waits for the outcome of a publish, and may give up."""

    batch: Batch | None  #: where the message is; the intake's

    def tell(self, error: PublishError | None) -> None: ...


class _Gone:
    """The place of one that has given up."""

    batch: Batch | None = None

    def tell(self, error: PublishError | None) -> None:
        pass


GONE = _Gone()

#: Who is told of a message's outcome: a Waiter at once, a callback by a thread
#: that may be held up.
Sink = Union[Waiter, Done, None]


class Batch:
    """Messages that are sent with one command, of one topic."""

    __slots__ = (
        "topic", "items", "bytes", "whole", "delay", "born", "marks", "out", "failures", "address", "why", "doubt",
        "replay",
    )  # fmt: skip

    def __init__(self, topic: str, born: float) -> None:
        self.topic = topic
        # A size, a body and a sink for each message, one after the other: a message
        # comes and goes with one operation, which no KeyboardInterrupt can halve.
        self.items: list[Any] = []
        self.bytes = 0  # of bodies
        self.whole = False  # stored together or not at all: never split; the first sink is told
        self.delay: float | None = None  # of a deferred message, in seconds
        self.born = born  # when its first message was accepted
        self.marks: list[Mark] | None = None

        # Owned by the publisher.
        self.out = False  # sent, and not answered
        self.failures = 0
        self.address = ""  # of the daemon that it was sent to last
        self.why: Exception | None = None  # the last failure
        self.doubt: Exception | None = None  # why it may be stored, although it is tried again
        self.replay: object = None  # set if it comes from the spool: the intake does not know it

    @property
    def count(self) -> int:
        return len(self.items) // 3

    @property
    def bodies(self) -> list[bytes]:
        return self.items[1::3]

    @property
    def sinks(self) -> list[Sink]:
        return self.items[2::3]

    def halve(self) -> Batch:
        """Moves the second half of its messages to a batch that is returned."""
        other = Batch(self.topic, self.born)
        half = self.count // 2 * 3
        other.items, self.items = self.items[half:], self.items[:half]
        other.bytes = sum(map(len, other.bodies))
        self.bytes -= other.bytes
        other.failures, other.address, other.why = self.failures, self.address, self.why
        other.doubt, other.replay = self.doubt, self.replay
        return other

    def command(self) -> bytes:
        """The batch as a command."""
        if self.delay is not None:
            return _wire.dpub(self.topic, self.delay, self.items[1])
        count = self.count
        if count == 1:
            return _wire.pub(self.topic, self.items[1])
        parts = [b""] * (2 * count + 1)
        parts[1::2] = self.items[::3]
        parts[2::2] = self.items[1::3]
        parts[0] = _wire.mpub_header(self.topic, 4 + sum(map(len, parts)), count)
        return b"".join(parts)


class Mark:
    """Somebody who waits for batches to be finished."""

    def __init__(self, left: int, reached: Callable[[], object]) -> None:
        self.left = left
        self.reached = reached
