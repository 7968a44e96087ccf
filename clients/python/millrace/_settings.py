"""The settings that Writer and Reader share: how daemons are spoken to."""

from __future__ import annotations

import logging
import math
import socket
import ssl
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import _snappy

logger = logging.getLogger("millrace")

#: What daemons do when they are not asked, in seconds: IDENTIFY's answer does
#: not tell.
DEFAULT_HEARTBEAT = 30.0

#: The user agent that daemons and lookupds are told.
USER_AGENT = "millrace-python"


@dataclass(frozen=True)
class ConnectionSettings:
    """How daemons are spoken to. Times are in seconds.

    check() must have been called before it is used.
    """

    dial_timeout: float = 5.0
    write_timeout: float = 10.0
    heartbeat_interval: float = 0.0
    tls: ssl.SSLContext | bool = False
    compression: str | None = None
    deflate_level: int = 6
    auth_secret: str = ""
    region: str = ""
    zone: str = ""
    client_id: str = ""
    hostname: str = ""
    user_agent: str = ""
    logger: logging.Logger = logger

    @property
    def silence(self) -> float:
        """Seconds of a daemon's silence after which it counts as dead."""
        return 2 * (self.heartbeat_interval or DEFAULT_HEARTBEAT)

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        if isinstance(self.tls, ssl.SSLContext):
            return self.tls
        return ssl.create_default_context() if self.tls else None

    def check(self) -> list[str]:
        """What is wrong with the settings, one sentence each."""
        wrong = [
            *positive("dial_timeout", self.dial_timeout),
            *positive("write_timeout", self.write_timeout),
            *interval("heartbeat_interval", self.heartbeat_interval),
        ]
        if self.compression not in (None, "snappy", "deflate"):
            wrong.append(f"compression: {self.compression!r} is none of None, 'snappy' and 'deflate'")
        if self.compression == "snappy" and not _snappy.available():
            wrong.append("compression: 'snappy' needs one of the packages python-snappy and cramjam")
        if not 1 <= self.deflate_level <= 9:
            wrong.append(f"deflate_level: {self.deflate_level} not in 1-9")
        return wrong

    def identify(self, *, msg_timeout: float, sample_rate: int, output_buffer_timeout: float = 0, extension: dict[str, Any]) -> dict[str, Any]:
        """The body of IDENTIFY."""
        hostname = self.hostname or socket.gethostname()
        request: dict[str, Any] = {
            "client_id": self.client_id or hostname.partition(".")[0],
            "hostname": hostname,
            "user_agent": self.user_agent or USER_AGENT,
            "feature_negotiation": True,
            "millrace": extension,
        }
        optional = {
            "heartbeat_interval": round(self.heartbeat_interval * 1000),
            "msg_timeout": round(msg_timeout * 1000),
            "sample_rate": sample_rate,
            "output_buffer_timeout": round(output_buffer_timeout * 1000),
            "tls_v1": bool(self.tls),
            "snappy": self.compression == "snappy",
            "deflate": self.compression == "deflate",
            "deflate_level": self.deflate_level if self.compression == "deflate" else 0,
            "topology_region": self.region,
            "topology_zone": self.zone,
        }
        request.update((key, value) for key, value in optional.items() if value)
        return request


def complain(what: str, wrong: list[str]) -> None:
    """Raises ValueError with all complaints at once, if there are any."""
    if wrong:
        raise ValueError(f"{what}: " + "; ".join(wrong))


def positive(name: str, seconds: float) -> list[str]:
    if seconds > 0 and math.isfinite(seconds):
        return []
    return [f"{name}: {seconds} is no positive number of seconds"]


def not_negative(name: str, value: float) -> list[str]:
    return [] if value >= 0 else [f"{name}: {value} must not be negative"]


def at_least(name: str, value: int, least: int) -> list[str]:
    return [] if value >= least else [f"{name}: {value} must be at least {least}"]


def interval(name: str, seconds: float) -> list[str]:
    """Refuses what every daemon refuses, which saves a client from trying it for
    ever."""
    if seconds == 0 or 1 <= seconds < math.inf:
        return []
    return [f"{name}: {seconds} must be 0 or at least 1 (seconds)"]


def split_address(address: str) -> tuple[str, int]:
    """host:port, [v6]:port, taken apart. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or not host or (":" in host and not bracketed):
        raise ValueError(f"address {address!r} must be host:port")
    return host[1:-1] if bracketed else host, int(port)


def check_addresses(addresses: Iterable[str], lookupds: Iterable[str]) -> list[str]:
    wrong = []
    for address in addresses:
        try:
            split_address(address)
        except ValueError as e:
            wrong.append(str(e))
    for lookupd in lookupds:
        url = urllib.parse.urlsplit(lookupd if "://" in lookupd else "//" + lookupd, scheme="http")
        try:
            fine = url.scheme in ("http", "https") and url.hostname and (url.port or "://" in lookupd)
        except ValueError:  # the port is no number
            fine = False
        if not fine:
            wrong.append(f"lookupd {lookupd!r} must be host:port or an HTTP URL")
    if not addresses and not lookupds:
        wrong.append("neither an address nor a lookupd is given")
    return wrong
