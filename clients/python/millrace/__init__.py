"""A client for Millrace, and for any daemon that speaks NSQ's protocol.

    import millrace

    with millrace.Writer(["127.0.0.1:4150"]) as writer:
        writer.publish("greetings", b"hello")

    def greet(message: millrace.Message) -> None:
        print(message.body)

    millrace.Reader("greetings", "printer", addresses=["127.0.0.1:4150"], handler=greet).run()

AsyncWriter and AsyncReader are the same on asyncio. `python -m millrace` publishes and
tails; millrace.trace carries W3C trace contexts in bodies.

Times are in seconds, sizes in bytes, unless a name or a docstring says otherwise.
"""

from . import trace
from ._async_reader import AsyncReader
from ._async_writer import AsyncWriter
from ._errors import (
    ClosedError,
    ConnectionFailed,
    MillraceError,
    ProtocolError,
    PublishError,
    RefusedError,
    SeekError,
    ServerError,
    UnavailableError,
    UncertainError,
)
from ._message import ANSWER_LATER, AnswerLater, Handled, Message, ReaderStats
from ._reader import Reader
from ._spool import DirectorySpool, Spool, SpoolError
from ._writer import Writer
from ._writer_settings import Published, WriterStats

__all__ = [
    "ANSWER_LATER",
    "AnswerLater",
    "AsyncReader",
    "AsyncWriter",
    "ClosedError",
    "ConnectionFailed",
    "DirectorySpool",
    "Handled",
    "Message",
    "MillraceError",
    "ProtocolError",
    "PublishError",
    "Published",
    "Reader",
    "ReaderStats",
    "RefusedError",
    "SeekError",
    "ServerError",
    "Spool",
    "SpoolError",
    "UnavailableError",
    "UncertainError",
    "Writer",
    "WriterStats",
    "trace",
]

__version__ = "0.1.0"
