"""A client for Millrace, and for any daemon that speaks NSQ's protocol.

    import millrace

    with millrace.Writer(["127.0.0.1:4150"]) as writer:
        writer.publish("greetings", b"hello")

Times are in seconds, sizes in bytes, unless a name or a docstring says otherwise.
"""

from ._errors import (
    ClosedError,
    ConnectionFailed,
    MillraceError,
    ProtocolError,
    PublishError,
    RefusedError,
    ServerError,
    UnavailableError,
    UncertainError,
)

__all__ = [
    "ClosedError",
    "ConnectionFailed",
    "MillraceError",
    "ProtocolError",
    "PublishError",
    "RefusedError",
    "ServerError",
    "UnavailableError",
    "UncertainError",
]

__version__ = "0.1.0"
