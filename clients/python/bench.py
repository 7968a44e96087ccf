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
from typing import Any

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


def consume(args: argparse.Namespace) -> float:
    """A handler for each message of a backlog."""
    return _consume(args, lambda count: {"handler": lambda message: count(1)})


def consume_batches(args: argparse.Namespace) -> float:
    """A batch_handler for the messages of a backlog."""
    return _consume(args, lambda count: {"batch_handler": lambda batch: count(len(batch)), "batch_size": args.batch})


def _consume(args: argparse.Namespace, handlers: Callable[[Callable[[int], None]], dict[str, Any]]) -> float:
    """Counted when every message is finished. A topic's first channel has what was published before it."""
    if not args.published:
        bodies = [b"x" * args.size] * 200
        args.messages -= args.messages % 200
        with millrace.Writer(args.address) as writer:
            for _ in range(args.messages // 200):
                writer.publish_many_async(args.topic, bodies)
    seen, all_seen = 0, threading.Event()

    def count(messages: int) -> None:
        nonlocal seen
        seen += messages
        if seen >= args.messages:
            all_seen.set()

    reader = millrace.Reader(args.topic, args.channel, addresses=args.address, max_in_flight=args.max_in_flight, **handlers(count))
    running = threading.Thread(target=reader.run)
    began, cpu = time.perf_counter(), time.process_time()
    running.start()
    all_seen.wait()
    while reader.stats().finished < args.messages:
        time.sleep(0.0001)
    took, args.cpu = time.perf_counter() - began, time.process_time() - cpu
    reader.close()
    running.join()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the Python client against a running daemon.")
    parser.add_argument("--address", required=True, help="host:port of the daemon's TCP side")
    parser.add_argument("--topic", default="bench")
    parser.add_argument("--channel", default="bench", help="to consume")
    parser.add_argument("--published", action="store_true", help="the backlog is there already")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--max-in-flight", type=int, default=2500, help="messages on their way to a Reader")
    parser.add_argument("--batch", type=int, default=200, help="messages of a batch")
    commands = parser.add_subparsers(dest="command", required=True)
    measures = {"publish": publish, "publish-many": publish_many, "consume": consume, "consume-batches": consume_batches}
    for name, run in measures.items():
        commands.add_parser(name, help=run.__doc__).set_defaults(run=run)
    args = parser.parse_args()
    seconds = args.run(args)
    result = {"bench": args.command, "messages": args.messages, "seconds": round(seconds, 3)}
    result["cpu_seconds"] = round(getattr(args, "cpu", time.process_time()), 3)
    print(json.dumps({**result, "per_second": round(args.messages / seconds)}))


if __name__ == "__main__":
    main()
