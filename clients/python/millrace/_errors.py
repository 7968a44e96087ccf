"""What can go wrong, as types: everything that decides about trying again
looks at nothing else."""

from __future__ import annotations

import re

class MillraceError(Exception):
    """The base of every error that this package raises itself, but for
    ValueError and TypeError, which say that it was called wrongly."""


class ClosedError(MillraceError):
    """A method was called after close()."""


class ServerError(MillraceError):
    """What a daemon answered instead of OK, as it stands on the wire.

    code is the first word, such as "E_BAD_TOPIC"; text is what follows it.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code} {text}" if text else code)
        self.code = code
        self.text = text

    @property
    def fatal(self) -> bool:
        """Whether the daemon closes the connection after it. A FIN, REQ or TOUCH
        that came too late is an ordinary event; every other error is fatal."""
        return self.code not in ("E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED", "E_SEEK_FAILED")

    @property
    def draining(self) -> bool:
        """Whether the daemon refuses because it drains: nothing was stored, and
        another daemon should be asked."""
        _, failed, reason = self.text.partition(" failed ")
        return bool(failed) and reason.startswith("DRAINING:")

    @property
    def retry_after(self) -> float:
        """In how many seconds a daemon takes a publish that it has refused because it
        came too early: nothing was stored. 0 if that is not why it refuses."""
        _, failed, reason = self.text.partition(" failed ")
        if not failed or not reason.startswith("RATE_LIMITED:"):
            return 0.0
        return _duration(reason.rpartition("; again in ")[2])


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "\u00b5s": 1e-6, "ns": 1e-9}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|\u00b5s|ns)")


def _duration(text: str) -> float:
    """A time as Go writes it, such as 1m2.5s, in seconds; 0 if it is none."""
    parts = _TIME.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class SeekError(MillraceError):
    """A channel could not be moved on every daemon. The text names those where it
    was not, and why; on the others it was."""


class ProtocolError(MillraceError):
    """What a daemon sent is not the protocol. The connection is closed."""


class SecretMissing(ProtocolError):
    """A daemon requires AUTH, and no auth_secret is set."""


class ConnectionFailed(MillraceError):
    """A connection could not be made, or broke. The text names the daemon; the
    cause, if there is one, is __cause__."""


class PublishError(MillraceError):
    """The base of the three ways in which a publish fails.

    topic is where to; address is the daemon (host:port) that the message was
    sent to last, or "". The reason is __cause__.
    """

    #: Whether publishing the same again later may succeed.
    retryable = False

    def __init__(self, message: str, *, topic: str = "", address: str = "") -> None:
        super().__init__(message)
        self.topic = topic
        self.address = address


class RefusedError(PublishError):
    """The message is certainly not stored, and would be refused again: a name out
    of rule, a message that is empty or too large, a right that is missing."""


class UnavailableError(PublishError):
    """The message is certainly not stored: no daemon took it for as long as it was
    tried. Publishing it again later may succeed."""

    retryable = True


class UncertainError(PublishError):
    """The message was sent and no answer came: it may or may not have been stored.
    Publishing it again may store it twice."""

    retryable = True
