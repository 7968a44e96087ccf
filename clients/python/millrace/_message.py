"""Messages as a Reader delivers them, and what it tells about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._line import Delivery


class AnswerLater(Exception):
    """What a handler raises, or returns as ANSWER_LATER, to keep its message in
    flight: somebody calls the message's finish() or requeue() later, from any
    thread. If nobody does, the daemon delivers it again after its message timeout.
    """


#: For handlers that would rather return than raise AnswerLater.
ANSWER_LATER: Final = AnswerLater("the message is answered later")


class Message:
    """One delivery of a message.

    Attributes:
        id: 16 hexadecimal digits, which the daemon has given to the message.
        timestamp: when it was published, by the daemon's clock, in nanoseconds
            since 1970.
        attempts: deliveries so far, this one included; stays at 65535.
        body: what was published.
        address: the daemon that it came from, as host:port.

    A message is answered once: after finish() or requeue() both do nothing, and
    what the handler returns does not matter. They never block, may be called from
    any thread, and do nothing when the message's connection is gone: the daemon
    delivers it again.
    """

    __slots__ = ("id", "timestamp", "attempts", "body", "_delivery", "_answered")

    id: str
    timestamp: int
    attempts: int
    body: bytes

    def __init__(self, id: str, timestamp: int, attempts: int, body: bytes, delivery: Delivery) -> None:
        self.id = id
        self.timestamp = timestamp
        self.attempts = attempts
        self.body = body
        self._delivery = delivery
        self._answered = False

    @property
    def address(self) -> str:
        return self._delivery.line.address

    @property
    def answered(self) -> bool:
        """Whether it was finished, requeued, or lost with its connection."""
        return self._answered or self._delivery.line.lost

    def finish(self) -> None:
        """Tell the daemon that the message is done with."""
        self._delivery.line.finish(self)

    def requeue(self, delay: float | None = None) -> None:
        """Give the message back, to be delivered again after delay seconds.

        The daemon caps the delay at its longest (an hour by default). None stands
        for what a failed handler gets: requeue_delay × attempts, at most
        max_requeue_delay. Raises ValueError if delay is negative or not finite.
        """
        self._delivery.line.requeue(self, delay)

    def touch(self) -> None:
        """Restart the daemon's message timeout, for a message that takes long.

        While a handler runs, the Reader does so by itself. After the message was
        answered it does nothing.
        """
        self._delivery.line.touch(self)

    def __repr__(self) -> str:
        return f"<Message {self.id} from {self.address}, attempts {self.attempts}, {len(self.body)} bytes>"


@dataclass(frozen=True)
class Handled:
    """What a Reader tells on_handled, on the thread (or task) that handled."""

    messages: int  #: 1, or a batch's
    age: float  #: seconds since the first was published, by the daemon's clock, when it was handed over
    took: float  #: seconds in the handler
    error: BaseException | None  #: what the handler raised


@dataclass(frozen=True)
class ReaderStats:
    """What a Reader has done so far."""

    connections: int  #: subscribed daemons
    in_flight: int  #: messages delivered on them and not yet answered
    received: int  #: messages
    finished: int  #: answers sent, or to be sent
    requeued: int  #: the same
    expired: int  #: messages that waited for a handler until the daemon took them back
