"""Measures the client, in one process, against a daemon that is running.

    python3 bench.py --address 127.0.0.1:4150 publish

Prints one line of JSON: what was measured, messages, seconds, messages a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable

import millrace


def publish(args: argparse.Namespace) -> float:
    """Single messages, each with a callback; counted when all callbacks have run."""
    body = b"x" * args.size
    return _publish(args, 1, lambda writer, done: writer.publish_async(args.topic, body, done))


def publish_many(args: argparse.Namespace) -> float:
    """Batches of --batch messages, each with a callback."""
    bodies = [b"x" * args.size] * args.batch
    return _publish(args, args.batch, lambda writer, done: writer.publish_many_async(args.topic, bodies, done))


def _publish(args: argparse.Namespace, each: int, send: Callable[[millrace.Writer, Callable[..., None]], None]) -> float:
    answers = 0

    def done(error: millrace.PublishError | None) -> None:
        nonlocal answers
        if error is not None:
            raise error
        answers += 1

    with millrace.Writer(args.address) as writer:
        writer.publish(args.topic, b"connected")
        calls = args.messages // each
        began = time.perf_counter()
        for _ in range(calls):
            send(writer, done)
        writer.flush()
        took = time.perf_counter() - began
        if answers != calls:
            sys.exit(f"{answers} of {calls} were stored")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the Python client against a running daemon.")
    parser.add_argument("--address", required=True, help="host:port of the daemon's TCP side")
    parser.add_argument("--topic", default="bench")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--batch", type=int, default=200, help="messages of a batch")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in {"publish": publish, "publish-many": publish_many}.items():
        commands.add_parser(name, help=run.__doc__).set_defaults(run=run)
    args = parser.parse_args()
    seconds = args.run(args)
    result = {"bench": args.command, "messages": args.messages, "seconds": round(seconds, 3)}
    result["cpu_seconds"] = round(time.process_time(), 3)
    print(json.dumps({**result, "per_second": round(args.messages / seconds)}))


if __name__ == "__main__":
    main()
