"""What becomes of messages when their handler has ended, or must not begin."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable

from ._consumer import Consumer
from ._message import ANSWER_LATER, AnswerLater, Handled, Message


class Running:
    """The messages that one worker has in hand, for whoever says TOUCH."""

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] | list[Message] = ()


class Handling:
    """Decides, for workers of both kinds. Its methods may be called from any thread.

    call_soon has a function called on the loop.
    """

    def __init__(self, consumer: Consumer, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._consumer = consumer
        self._call_soon = call_soon
        self._settings = consumer.settings
        self._log = consumer.log
        self.slots: set[Running] = set()

    def slot(self) -> Running:
        slot = Running()
        self.slots.add(slot)
        return slot

    def running(self) -> list[list[Message]]:
        """The messages whose handlers run; one list for each call."""
        # A copy: threads that pull come and go.
        return [list(messages) for slot in self.slots.copy() if (messages := slot.messages)]

    def wanted(self, message: Message) -> bool:
        """Whether message is still ours. One that is not comes again, or has come:
        handling it would only be handling it twice."""
        delivery = message._delivery
        if delivery.line.lost:
            return False
        if time.monotonic() >= delivery.deadline:
            delivery.line.drop(message)
            return False
        return True

    def too_often(self, message: Message) -> bool:
        limit = self._settings.max_attempts
        return 0 < limit < message.attempts

    def given_up(self, message: Message) -> None:
        """What happens to a message that was delivered too often, without on_give_up."""
        self._log.warning("message given up: %r", message)
        message._delivery.line.finish(message, soon=True)

    def ended(self, messages: list[Message], began: float, error: BaseException | None, *, attempt: bool = True) -> None:
        """Answer messages whose handler has ended, with error if it raised.

        began is when it was called. attempt is False for on_give_up, which does
        not count for the back-off and is not told to on_handled.
        """
        later = isinstance(error, AnswerLater)
        if later:
            error = None
        if attempt and self._settings.max_backoff:
            self._count(error)
        if error is not None:
            self._requeue(messages, error)
        elif not later:
            for line, group in itertools.groupby(messages, lambda m: m._delivery.line):
                line.finish_all(group)
        if attempt and self._settings.on_handled is not None:
            self._tell(messages[0], len(messages), began, error)

    def _requeue(self, messages: list[Message], error: BaseException) -> None:
        what = repr(messages[0]) if len(messages) == 1 else f"a batch of {len(messages)} that begins with {messages[0]!r}"
        self._log.warning("the handler failed, to be delivered again: %s", what, exc_info=error)
        for m in messages:
            m._delivery.line.requeue(m, soon=True)

    def _count(self, error: BaseException | None) -> None:
        """Tell what counts for the back-off, before the messages are answered: the loop
        hears of it first."""
        if error is not None:
            self._call_soon(self._consumer.failed)
        elif self._consumer.backoff.failures:
            self._call_soon(self._consumer.succeeded)

    def _tell(self, first: Message, count: int, began: float, error: BaseException | None) -> None:
        took = time.monotonic() - began
        age = (time.time_ns() - first.timestamp) / 1e9 - took
        assert self._settings.on_handled is not None
        try:
            self._settings.on_handled(Handled(count, age, took, error))
        except BaseException:  # nor does it end the Reader
            self._log.exception("on_handled failed")


def later(result: object) -> AnswerLater | None:
    """What a handler's result says that could as well have been raised."""
    return ANSWER_LATER if isinstance(result, AnswerLater) else None
