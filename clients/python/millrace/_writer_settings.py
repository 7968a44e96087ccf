"""The settings of a Writer, and what it shows of itself."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Union

from ._errors import PublishError
from ._settings import ConnectionSettings, at_least, check_addresses, complain, not_negative, positive
from ._spool import Spool

SpoolSetting = Union[str, "os.PathLike[str]", Spool, None]

#: The longest that a message waits for others, in seconds.
_MAX_LINGER = 0.001


@dataclass(frozen=True)
class Published:
    """What on_publish is told of each command that a daemon has answered, or that
    failed."""

    topic: str
    address: str  #: the daemon that answered (host:port); "" if none was reached
    messages: int  #: in the command
    bytes: int  #: of their bodies
    took: float  #: seconds from when the first of them was accepted to the answer
    error: PublishError | None  #: None if they are stored


@dataclass(frozen=True)
class WriterStats:
    """A Writer's state and, since it was made, its counters; they count messages
    unless something else is said."""

    connections: int = 0  #: daemons that it is connected to
    in_flight: int = 0  #: accepted, and not finished
    in_flight_bytes: int = 0  #: bytes of their bodies
    spooled: int = 0  #: batches in the spool
    published: int = 0  #: stored by a daemon
    refused: int = 0  #: ended with RefusedError
    unavailable: int = 0  #: ended with UnavailableError
    uncertain: int = 0  #: ended with UncertainError
    retried: int = 0  #: tried again, once for each time
    batches: int = 0  #: commands that were sent


@dataclass(frozen=True)
class WriterSettings:
    addresses: Sequence[str] = ()
    lookupds: Sequence[str] = ()
    lookup_interval: float = 60.0
    max_in_flight: int = 10_000
    max_in_flight_bytes: int = 64 << 20
    linger: float = _MAX_LINGER
    batch_messages: int = 1000
    batch_bytes: int = 256 << 10
    retry_for: float | None = None
    retry_uncertain: bool = False
    spool: SpoolSetting = None
    spool_after: float = 1.0
    max_connections: int = 4
    close_timeout: float = 10.0
    on_publish: Callable[[Published], object] | None = None
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)

    def check(self) -> None:
        """Raises ValueError with all that is wrong."""
        wrong = [
            *check_addresses(self.addresses, self.lookupds),
            *positive("lookup_interval", self.lookup_interval),
            *at_least("max_in_flight", self.max_in_flight, 1),
            *at_least("max_in_flight_bytes", self.max_in_flight_bytes, 1),
            *at_least("batch_messages", self.batch_messages, 1),
            *at_least("batch_bytes", self.batch_bytes, 1),
            *at_least("max_connections", self.max_connections, 1),
            *not_negative("spool_after", self.spool_after),
            *not_negative("close_timeout", self.close_timeout),
            *self.connection.check(),
        ]
        if not 0 <= self.linger <= _MAX_LINGER:
            wrong.append(f"linger: {self.linger} not in 0-{_MAX_LINGER} (seconds)")
        if self.retry_for is not None and not 0 <= self.retry_for < math.inf:
            wrong.append(f"retry_for: {self.retry_for} must not be negative")
        complain("Writer", wrong)
