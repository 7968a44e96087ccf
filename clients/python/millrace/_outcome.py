"""What becomes of a publish, by what a daemon says or does not say."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from ._errors import PublishError, RefusedError, ServerError, UnavailableError, UncertainError
from ._batch import Batch

_E = TypeVar("_E", bound=PublishError)


class Verdict(Enum):
    """What a daemon's error says about a publish."""

    FAILED = "not stored; another daemon, or this one later, may store it"
    REFUSED = "not stored, and never will be"
    DIVISIBLE = "not stored; parts of it may be"
    UNCERTAIN = "stored in part, perhaps"


_FAILED = {"E_PUB_FAILED", "E_DPUB_FAILED", "E_AUTH_FAILED"}


def judge(error: ServerError, batch: Batch, whole_batches: bool) -> Verdict:
    """whole_batches says that the daemon stores a batch whole or not at all."""
    if error.draining or error.code in _FAILED:
        return Verdict.FAILED
    if error.code == "E_MPUB_FAILED":  # nsqd may have queued some of it
        return Verdict.FAILED if whole_batches else Verdict.UNCERTAIN
    if error.code in ("E_BAD_MESSAGE", "E_BAD_BODY"):
        return Verdict.REFUSED if batch.whole or batch.count == 1 else Verdict.DIVISIBLE
    if error.code == "E_UNAUTHORIZED" and batch.replay is not None:
        return Verdict.FAILED  # who published it was told that it is kept: it waits for the right to come back
    return Verdict.REFUSED


def refusal(batch: Batch, why: Exception) -> PublishError:
    """The error of a batch that a daemon refused, likewise."""
    if batch.doubt is not None:
        return uncertain(batch, batch.doubt)
    return refused(batch.topic, why, batch.address)


def refused(topic: str, why: Exception, address: str = "") -> RefusedError:
    by = f" by {address}" if address else ""
    return _caused(RefusedError(f"publish to {topic} was refused{by}: {why}", topic=topic, address=address), why)


def failed(batch: Batch, why: Exception, after: str = "") -> PublishError:
    """The error of a batch that nobody took; after says when it was given up, if that
    is not why. An earlier attempt may have stored it all the same."""
    if batch.doubt is not None:
        return uncertain(batch, batch.doubt)
    text = f"publish to {batch.topic} was not stored{after}: {why}"
    return _caused(UnavailableError(text, topic=batch.topic, address=batch.address), why)


def no_room(topic: str, timeout: float) -> UnavailableError:
    why = TimeoutError(f"no room within {timeout:g} s: max_in_flight or max_in_flight_bytes are reached")
    return _caused(UnavailableError(f"publish to {topic} was not stored: {why}", topic=topic), why)


def uncertain(batch: Batch, why: Exception) -> UncertainError:
    by = f" by {batch.address}" if batch.address else ""
    text = f"publish to {batch.topic} may or may not have been stored{by}: {why}"
    return _caused(UncertainError(text, topic=batch.topic, address=batch.address), why)


def closing_error(not_stored: int, doubtful: int) -> TimeoutError | None:
    """What close() says of messages that it could not see to in time."""
    parts = []
    if doubtful:
        parts.append(f"{doubtful} messages unanswered, which may or may not have been stored")
    if not_stored:
        parts.append(f"{not_stored} messages that were not stored")
    return TimeoutError("the writer was closed with " + " and ".join(parts)) if parts else None


def again(error: PublishError) -> PublishError:
    """An error like error, for somebody else: two threads must not raise the same."""
    other = type(error)(str(error), topic=error.topic, address=error.address)
    other.__cause__ = error.__cause__
    return other


def _caused(error: _E, why: Exception) -> _E:
    error.__cause__ = why
    return error
