"""What Reader and AsyncReader have in common."""

from __future__ import annotations

import datetime
import logging
import ssl
from collections.abc import Callable, Iterable

from ._message import Handled, Message, ReaderStats
from ._reader_settings import ReaderSettings
from ._settings import ConnectionSettings
from ._settings import logger as default_logger

NOTHING = ReaderStats(0, 0, 0, 0, 0, 0)


class ReaderBase:
    def __init__(
        self,
        topic: str,
        channel: str,
        *,
        addresses: str | Iterable[str] = (),
        lookupds: str | Iterable[str] = (),
        handler: Callable[[Message], object] | None = None,
        batch_handler: Callable[[list[Message]], object] | None = None,
        max_in_flight: int = 200,
        concurrency: int = 1,
        batch_size: int = 200,
        batch_wait: float = 0,
        requeue_delay: float = 5.0,
        max_requeue_delay: float = 300.0,
        backoff: float = 1.0,
        max_backoff: float = 0,
        max_attempts: int = 0,
        on_give_up: Callable[[Message], object] | None = None,
        touch_for: float = 0,
        shutdown_timeout: float = 10.0,
        msg_timeout: float = 0,
        sample_rate: int = 0,
        output_buffer_timeout: float = 0.025,
        start: str = "latest",
        lookup_interval: float = 60.0,
        on_handled: Callable[[Handled], object] | None = None,
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
        self._settings = ReaderSettings(
            topic=topic,
            channel=channel,
            addresses=_strings(addresses),
            lookupds=_strings(lookupds),
            handler=handler,
            batch_handler=batch_handler,
            max_in_flight=max_in_flight,
            concurrency=concurrency,
            batch_size=batch_size,
            batch_wait=batch_wait,
            requeue_delay=requeue_delay,
            max_requeue_delay=max_requeue_delay,
            backoff=backoff,
            max_backoff=max_backoff,
            max_attempts=max_attempts,
            on_give_up=on_give_up,
            touch_for=touch_for,
            shutdown_timeout=shutdown_timeout,
            msg_timeout=msg_timeout,
            sample_rate=sample_rate,
            output_buffer_timeout=output_buffer_timeout,
            start=start,
            lookup_interval=lookup_interval,
            on_handled=on_handled,
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
        self._closed = False
        self._paused = False
        self._ran = False
        self._prepare()

    def _prepare(self) -> None:
        """Make what a form has of its own."""

    @property
    def topic(self) -> str:
        return self._settings.topic

    @property
    def channel(self) -> str:
        return self._settings.channel

    def _check_use(self, pulling: bool) -> None:
        handled = self._settings.handler is not None or self._settings.batch_handler is not None
        if pulling and handled:
            raise RuntimeError("this reader has a handler: its messages cannot be pulled as well")
        if not pulling and not handled:
            raise RuntimeError("this reader has no handler: give it one, or iterate over it")

    def _note_run(self) -> None:
        if self._ran:
            raise RuntimeError("a reader runs only once")
        self._ran = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic}/{self.channel}>"


def parse_place(place: str | datetime.datetime) -> str:
    """Return a place as SEEK has it. Raises ValueError."""
    if isinstance(place, datetime.datetime):
        if place.tzinfo is None:
            raise ValueError(f"place: {place} has no time zone")
        return place.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    if not place or not place.isascii() or not place.isprintable() or " " in place:
        raise ValueError(f"place: {place!r} is none of 'earliest', 'latest', a message's ID and a time (RFC 3339)")
    return place


def _strings(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
