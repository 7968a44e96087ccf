"""A client for Millrace, and for any daemon that speaks NSQ's protocol.

    import millrace

    with millrace.Writer(["127.0.0.1:4150"]) as writer:
        writer.publish("greetings", b"hello")

Times are in seconds, sizes in bytes, unless a name or a docstring says otherwise.
"""

from ._async_writer import AsyncWriter
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
from ._spool import DirectorySpool, Spool, SpoolError
from ._writer import Writer
from ._writer_settings import Published, WriterStats

__all__ = [
    "AsyncWriter",
    "ClosedError",
    "ConnectionFailed",
    "MillraceError",
    "DirectorySpool",
    "ProtocolError",
    "PublishError",
    "Published",
    "RefusedError",
    "ServerError",
    "Spool",
    "SpoolError",
    "UnavailableError",
    "UncertainError",
    "Writer",
    "WriterStats",
]

__version__ = "0.1.0"
