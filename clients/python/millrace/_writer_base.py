"""What Writer and AsyncWriter have in common."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Union

from . import _outcome, _wire
from ._batch import Batch, Done
from ._intake import Intake
from ._errors import PublishError
from ._settings import ConnectionSettings
from ._settings import logger as default_logger
from ._spool import DirectorySpool, Spool
from ._writer_settings import Published, SpoolSetting, WriterSettings

Body = Union[bytes, bytearray, memoryview]

#: How many names are remembered to be valid.
_NAMES = 10_000


class WriterBase:
    def __init__(
        self,
        addresses: str | Iterable[str] = (),
        lookupds: str | Iterable[str] = (),
        *,
        lookup_interval: float = 60.0,
        max_in_flight: int = 10_000,
        max_in_flight_bytes: int = 64 << 20,
        linger: float = 0.001,
        batch_messages: int = 1000,
        batch_bytes: int = 256 << 10,
        retry_for: float | None = None,
        retry_uncertain: bool = False,
        spool: SpoolSetting = None,
        spool_after: float = 1.0,
        max_connections: int = 4,
        close_timeout: float = 10.0,
        on_publish: Callable[[Published], object] | None = None,
        dial_timeout: float = 5.0,
        write_timeout: float = 10.0,
        heartbeat_interval: float = 0.0,
        tls: ssl.SSLContext | bool = False,
        compression: str | None = None,
        deflate_level: int = 6,
        auth_secret: str = "",
        region: str = "",
        zone: str = "",
        client_id: str = "",
        hostname: str = "",
        user_agent: str = "",
        logger: logging.Logger = default_logger,
    ) -> None:
        self._settings = WriterSettings(
            addresses=_strings(addresses),
            lookupds=_strings(lookupds),
            lookup_interval=lookup_interval,
            max_in_flight=max_in_flight,
            max_in_flight_bytes=max_in_flight_bytes,
            linger=linger,
            batch_messages=batch_messages,
            batch_bytes=batch_bytes,
            retry_for=retry_for,
            retry_uncertain=retry_uncertain,
            spool=spool,
            spool_after=spool_after,
            max_connections=max_connections,
            close_timeout=close_timeout,
            on_publish=on_publish,
            connection=ConnectionSettings(
                dial_timeout=dial_timeout,
                write_timeout=write_timeout,
                heartbeat_interval=heartbeat_interval,
                tls=tls,
                compression=compression,
                deflate_level=deflate_level,
                auth_secret=auth_secret,
                region=region,
                zone=zone,
                client_id=client_id,
                hostname=hostname,
                user_agent=user_agent,
                logger=logger,
            ),
        )
        self._settings.check()
        self._names: set[str] = set()
        self._intake = Intake(
            max_messages=max_in_flight,
            max_bytes=max_in_flight_bytes,
            batch_messages=batch_messages,
            batch_bytes=batch_bytes,
            gather=linger > 0,
            clock=time.monotonic,
        )
        # Last: what is opened has to be closed.
        self._spool: Spool | None
        if spool is None or isinstance(spool, Spool):
            self._spool = spool
        else:
            self._spool = DirectorySpool(spool)
        self._prepare()

    def _prepare(self) -> None:
        """Makes what a kind of writer has of its own."""


def check_name(names: set[str], topic: str) -> None:
    """Raises RefusedError for a topic whose name is out of rule. names are those
    that are known to be right."""
    if topic in names:
        return
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    if not _wire.valid_name(topic):
        why = ValueError('a name is 1 to 64 of ".a-zA-Z0-9_-", with #ephemeral at its end or without')
        raise _outcome.refused(repr(topic), why)
    if len(names) >= _NAMES:
        names.clear()
    names.add(topic)


def check_body(topic: str, body: Body) -> bytes:
    """body as bytes. Raises RefusedError if it is empty."""
    if type(body) is not bytes:
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"a message is bytes, not {type(body).__name__}")
        body = bytes(body)
    if not body:
        # The daemon would close the connection over it.
        raise _outcome.refused(topic, ValueError("the message is empty"))
    return body


def check_bodies(topic: str, bodies: Iterable[Body]) -> tuple[Sequence[bytes], int]:
    """bodies, and how many bytes they are together. Raises RefusedError if there are
    none, or an empty one."""
    if isinstance(bodies, (bytes, bytearray, memoryview, str)):
        raise TypeError("publish_many takes several messages, each of bytes")
    several = list(bodies)
    if set(map(type, several)) != {bytes}:
        several = [check_body(topic, body) for body in several]
    if not several or not all(several):
        what = f"message {several.index(b'')} is empty" if several else "no message is given"
        raise _outcome.refused(topic, ValueError(what))
    return several, sum(map(len, several))


def check_delay(delay: float) -> float:
    """Raises ValueError."""
    if not 0 <= delay < 1e9:
        raise ValueError(f"delay: {delay} is no number of seconds from 0 on")
    return delay


def tell(batch: Batch, error: PublishError | None) -> list[Done]:
    """Tells the waiters of a batch, and returns the callbacks that are to be told."""
    dones: list[Done] = []
    for sink in batch.sinks:
        if sink is None:
            continue
        if callable(sink):
            dones.append(sink)
        else:
            sink.batch = None
            sink.tell(None if error is None else _outcome.again(error))
    return dones


def call(dones: list[Done], error: PublishError | None, log: logging.Logger) -> None:
    """Calls callbacks. One that fails does not keep the others from being called."""
    for done in dones:
        try:
            done(error)
        except BaseException:  # whatever it is, others wait behind it
            log.exception("the callback of a publish failed")


def _strings(value: str | Iterable[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else tuple(value)
