"""Does with Python's clients what the conformance scenarios say: it reads
requests, a line of JSON each, and answers likewise. The argument is "python" for
Writer and Reader, "asyncio" for AsyncWriter and AsyncReader.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from aio import AsyncServer
from sync import serve_sync


def main() -> None:
    # What the clients log is theirs; what asyncio has to complain of is a fault.
    logging.getLogger("millrace").addHandler(logging.NullHandler())
    logging.getLogger("millrace").propagate = False
    if sys.argv[1] == "asyncio":
        asyncio.run(AsyncServer().serve())
    else:
        serve_sync()


if __name__ == "__main__":
    main()
