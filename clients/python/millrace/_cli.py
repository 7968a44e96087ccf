"""What python -m millrace does."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import secrets
import select
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

from . import __version__
from ._errors import MillraceError, PublishError
from ._reader import Reader
from ._threads import SIGNALS
from ._writer import Writer

T = TypeVar("T")

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
examples:
  python -m millrace publish greetings hello
  make 2>&1 | python -m millrace publish builds --lookupd lookup:4161
  python -m millrace tail greetings
  python -m millrace tail orders --channel audit -n 10 --tls --tls-ca ca.pem

exit status: 0 done; 1 something failed, and a line on standard error says what;
2 it was called wrongly; 130 publish was interrupted (what it had taken is published).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with arguments (the program's, by default); return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return OK
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    try:
        with _terminated_like_interrupted():
            return int(args.run(args))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, TypeError) as e:
        return _complain(args.command, e, USAGE)
    except (MillraceError, OSError) as e:
        return _complain(args.command, e, FAILED)


def _complain(command: str, e: object, status: int) -> int:
    print(f"millrace {command}: {e}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as SIGINT does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m millrace",
        description="Publishes messages to a topic, or shows those that come.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    common = _common()
    commands = parser.add_subparsers(dest="command", metavar="{publish,tail}")

    publish = commands.add_parser(
        "publish",
        parents=[common],
        help="publish the arguments, or each line of standard input",
        description="Publishes each MESSAGE, or without any each line of standard input; empty lines are skipped.",
    )
    publish.add_argument("topic", metavar="TOPIC")
    publish.add_argument("messages", metavar="MESSAGE", nargs="*")
    publish.add_argument("--delay", type=float, metavar="SECONDS", help="have them delivered so much later")
    publish.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to go on trying while no daemon takes a message (30)",
    )
    publish.set_defaults(run=_publish)

    tail = commands.add_parser(
        "tail",
        parents=[common],
        help="print the bodies of a topic's messages as they come",
        description="Prints the bodies of a topic's messages as they come, a line each, until it is interrupted.",
    )
    tail.add_argument("topic", metavar="TOPIC")
    tail.add_argument(
        "--channel",
        help="channel to consume from, whose messages are then finished (one of its own, which ends with it)",
    )
    tail.add_argument("-n", type=int, default=0, metavar="COUNT", help="end after so many messages")
    tail.add_argument(
        "--earliest",
        action="store_true",
        help="begin with the earliest message that the topic keeps, if the channel is a new one",
    )
    tail.set_defaults(run=_tail)
    return parser


def _common() -> argparse.ArgumentParser:
    """Return the options of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    where = common.add_argument_group("where the daemons are")
    where.add_argument(
        "--qd",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="TCP side of a queue daemon; may be repeated (127.0.0.1:4150, without --lookupd)",
    )
    where.add_argument(
        "--lookupd",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="HTTP side of a lookup daemon, or its URL; may be repeated",
    )
    how = common.add_argument_group("how they are spoken to")
    how.add_argument("--tls", action="store_true", help="with TLS; the daemon's name must be its certificate's")
    how.add_argument("--tls-ca", metavar="FILE", help="certificates that vouch for the daemon's, PEM (the system's)")
    how.add_argument("--tls-cert", metavar="FILE", help="certificate to show, PEM")
    how.add_argument("--tls-key", metavar="FILE", help="its key, PEM (in --tls-cert's file)")
    how.add_argument("--tls-insecure", action="store_true", help="believe any certificate; for trials")
    how.add_argument(
        "--auth-secret",
        default=os.environ.get("MILLRACE_AUTH_SECRET", ""),
        metavar="SECRET",
        help="said with AUTH, if the daemon asks ($MILLRACE_AUTH_SECRET, which other users cannot see)",
    )
    how.add_argument("--compression", choices=["snappy", "deflate"], help="with daemons that offer it")
    common.add_argument("-v", "--verbose", action="store_true", help="tell of connections, too")
    return common


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that Writer and Reader share."""
    return {
        "addresses": args.qd or ([] if args.lookupd else ["127.0.0.1:4150"]),
        "lookupds": args.lookupd,
        "tls": _tls(args),
        "auth_secret": args.auth_secret,
        "compression": args.compression,
        "user_agent": f"millrace-python/{__version__} {args.command}",
    }


def _tls(args: argparse.Namespace) -> ssl.SSLContext | bool:
    if not (args.tls or args.tls_ca or args.tls_cert or args.tls_insecure):
        return False
    context = ssl.create_default_context()
    if args.tls_ca:
        context = _loaded("--tls-ca", args.tls_ca, lambda: ssl.create_default_context(cafile=args.tls_ca))
    if args.tls_cert:
        _loaded("--tls-cert", args.tls_cert, lambda: context.load_cert_chain(args.tls_cert, args.tls_key))
    if args.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _loaded(option: str, path: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except OSError as e:  # which ssl's errors are
        raise ValueError(f"{option} {path}: {e.strerror or e}") from None


class _Outcomes:
    """What became of publishes. Called by the Writer's thread, one at a time."""

    def __init__(self) -> None:
        self.published = 0
        self.failed = 0
        self.first: PublishError | None = None

    def __call__(self, error: PublishError | None) -> None:
        if error is None:
            self.published += 1
            return
        self.failed += 1
        self.first = self.first or error


def _publish(args: argparse.Namespace) -> int:
    outcomes = _Outcomes()
    writer = Writer(retry_for=args.timeout, close_timeout=args.timeout + 1, **_settings(args))
    try:
        try:
            for body in _bodies(args.messages):
                if outcomes.failed:
                    break  # what follows would fail alike
                if args.delay is not None:
                    writer.publish_deferred_async(args.topic, args.delay, body, outcomes)
                else:
                    writer.publish_async(args.topic, body, outcomes)
        finally:
            writer.close()
    except KeyboardInterrupt:
        writer.close()  # if it had not begun, or was interrupted itself
        print(f"millrace publish: interrupted; published {outcomes.published}", file=sys.stderr)
        return INTERRUPTED
    if outcomes.first is None:
        return OK
    also = f"; {outcomes.published} were published before" if outcomes.published else ""
    return _complain("publish", f"{outcomes.first}{also}", FAILED)


def _bodies(messages: list[str]) -> Iterator[bytes]:
    if messages:
        yield from map(os.fsencode, messages)
        return
    for line in _lines(sys.stdin.fileno()):
        if line:
            yield line


def _lines(fd: int) -> Iterator[bytes]:
    """Yield the lines of a file without their ends, each as soon as it is there."""
    rest = b""
    while True:
        # A signal that comes when a read is about to begin is not seen before that ends.
        # Only what is there is read, then, except on Windows, which cannot tell.
        while os.name == "posix" and not select.select([fd], [], [], SIGNALS)[0]:
            pass
        piece = os.read(fd, 1 << 16)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    yield rest


def _tail(args: argparse.Namespace) -> int:
    if args.n < 0:
        raise ValueError(f"-n: {args.n} must not be negative")
    reader = Reader(
        args.topic,
        args.channel or f"tail{secrets.randbelow(10**6):06}#ephemeral",
        max_in_flight=min(args.n or 200, 200),
        start="earliest" if args.earliest else "latest",
        lookup_interval=5.0,
        **_settings(args),
    )
    out = sys.stdout.buffer
    shown = 0
    try:
        with reader:
            for message in reader:
                out.write(message.body + b"\n")
                out.flush()
                message.finish()
                shown += 1
                if shown == args.n:
                    break
    except BrokenPipeError:
        # Who read us has ended. What the interpreter would flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass  # the way in which it ends
    return OK
