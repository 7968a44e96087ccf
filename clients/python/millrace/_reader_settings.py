"""The settings of a Reader, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _wire
from ._message import Handled, Message
from ._settings import ConnectionSettings, at_least, check_addresses, complain, interval, not_negative, positive

STARTS = ("latest", "earliest")


@dataclass(frozen=True)
class ReaderSettings:
    """See millrace.Reader. Times are in seconds."""

    topic: str
    channel: str
    addresses: tuple[str, ...]
    lookupds: tuple[str, ...]
    handler: Callable[[Message], Any] | None
    batch_handler: Callable[[list[Message]], Any] | None
    max_in_flight: int
    concurrency: int
    batch_size: int
    batch_wait: float
    requeue_delay: float
    max_requeue_delay: float
    backoff: float
    max_backoff: float
    max_attempts: int
    on_give_up: Callable[[Message], Any] | None
    touch_for: float
    shutdown_timeout: float
    msg_timeout: float
    sample_rate: int
    output_buffer_timeout: float
    start: str
    lookup_interval: float
    on_handled: Callable[[Handled], Any] | None
    connection: ConnectionSettings

    def check(self) -> None:
        """Raises ValueError or TypeError with all that is wrong."""
        for name in ("handler", "batch_handler", "on_give_up", "on_handled"):
            f = getattr(self, name)
            if f is not None and not callable(f):
                raise TypeError(f"{name} must be callable, not {type(f).__name__}")
        wrong = [
            *(f"{what} {name!r} is not a valid name: {_RULE}" for what, name in self._names() if not _wire.valid_name(name)),
            *check_addresses(self.addresses, self.lookupds),
            *at_least("max_in_flight", self.max_in_flight, 1),
            *at_least("concurrency", self.concurrency, 1),
            *at_least("batch_size", self.batch_size, 1),
            *at_least("max_attempts", self.max_attempts, 0),
            *positive("lookup_interval", self.lookup_interval),
            *positive("backoff", self.backoff),
            *interval("msg_timeout", self.msg_timeout),
        ]
        for name in ("batch_wait", "requeue_delay", "max_requeue_delay", "max_backoff", "shutdown_timeout"):
            wrong += not_negative(name, getattr(self, name))
        for name in ("requeue_delay", "max_requeue_delay"):
            if math.isinf(getattr(self, name)):
                wrong.append(f"{name}: {getattr(self, name)} is no number of seconds")
        if math.isnan(self.touch_for):
            wrong.append("touch_for: nan is no number of seconds")
        if not 0 <= self.sample_rate <= 99:
            wrong.append(f"sample_rate: {self.sample_rate} not in 0-99 (percent; 0 for all)")
        if self.output_buffer_timeout and not 0.001 <= self.output_buffer_timeout < math.inf:
            wrong.append(f"output_buffer_timeout: {self.output_buffer_timeout} must be 0 or at least 0.001 s")
        if self.start not in STARTS:
            wrong.append(f"start: {self.start!r} is neither 'latest' nor 'earliest'")
        if self.handler is not None and self.batch_handler is not None:
            wrong.append("handler and batch_handler exclude each other")
        complain("reader settings", wrong + self.connection.check())

    def _names(self) -> list[tuple[str, str]]:
        return [("topic", self.topic), ("channel", self.channel)]


_RULE = "1 to 64 of . a-z A-Z 0-9 _ -, and #ephemeral at the end if wanted"
