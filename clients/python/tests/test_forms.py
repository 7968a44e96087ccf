"""What only one form of a Reader does, and what neither does."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any

import millrace

from .consuming import Case, message
from .publishing import HEARTBEAT, PATIENCE
from .test_cli import ROOT


def nothing(_: object) -> None:
    pass


class Wrong(Case):
    def test_settings(self) -> None:
        good: dict[str, Any] = {"topic": "t", "channel": "c", "addresses": ["h:1"]}
        for wrong, says in (
            ({"topic": ""}, "topic '' is not a valid name"),
            ({"channel": "a b"}, "channel 'a b' is not a valid name"),
            ({"addresses": []}, "neither an address nor a lookupd is given"),
            ({"addresses": "nowhere"}, "address 'nowhere' must be host:port"),
            ({"lookupds": "nowhere"}, "lookupd 'nowhere' must be"),
            ({"max_in_flight": 0}, "max_in_flight: 0 must be at least 1"),
            ({"concurrency": 0}, "concurrency: 0"),
            ({"batch_size": 0}, "batch_size: 0"),
            ({"batch_wait": -1}, "batch_wait: -1"),
            ({"requeue_delay": -1}, "requeue_delay: -1"),
            ({"requeue_delay": float("inf")}, "requeue_delay: inf"),
            ({"max_backoff": float("nan")}, "max_backoff: nan"),
            ({"touch_for": float("nan")}, "touch_for: nan"),
            ({"lookup_interval": 0}, "lookup_interval: 0"),
            ({"msg_timeout": 0.5}, "msg_timeout: 0.5"),
            ({"sample_rate": 100}, "sample_rate: 100 not in 0-99"),
            ({"output_buffer_timeout": 0.0001}, "output_buffer_timeout: 0.0001 must be 0 or at least 0.001 s"),
            ({"start": "first"}, "start: 'first'"),
            ({"handler": nothing, "batch_handler": nothing}, "exclude each other"),
            ({"compression": "zip"}, "compression: 'zip'"),
        ):
            for form in (millrace.Reader, millrace.AsyncReader):
                with self.subTest(wrong), self.assertRaisesRegex(ValueError, says):
                    form(**{**good, **wrong})
        with self.assertRaisesRegex(ValueError, "topic '' .*sample_rate"):
            millrace.Reader("", "c", addresses=["h:1"], sample_rate=-1)
        with self.assertRaisesRegex(TypeError, "handler must be callable"):
            millrace.Reader("t", "c", addresses=["h:1"], handler=7)  # type: ignore[arg-type]

    def test_use(self) -> None:
        async def handle(_: object) -> None:
            pass

        with self.assertRaisesRegex(TypeError, "that is for AsyncReader"):
            millrace.Reader("t", "c", addresses=["h:1"], handler=handle)
        with self.assertRaisesRegex(RuntimeError, "no handler"):
            millrace.Reader("t", "c", addresses=["h:1"]).run()
        with self.assertRaisesRegex(RuntimeError, "has a handler"):
            iter(millrace.Reader("t", "c", addresses=["h:1"], handler=nothing))
        reader = millrace.Reader("t", "c", addresses=["h:1"], handler=nothing)
        reader.close()
        reader.run()
        with self.assertRaisesRegex(RuntimeError, "only once"):
            reader.run()
        with self.assertRaises(millrace.ClosedError):
            reader.seek("earliest")
        pulled = millrace.Reader("t", "c", addresses=["h:1"])
        pulled.close()
        self.assertEqual(list(pulled), [])

    def test_delays(self) -> None:
        daemon = self.daemon(b"a")
        with millrace.Reader("t", "c", addresses=[daemon.address]) as reader:
            for m in reader:
                for delay in (-1, float("nan"), float("inf")):
                    with self.assertRaisesRegex(ValueError, "delay"):
                        m.requeue(delay)
                self.assertFalse(m.answered)
                self.assertIn("0000000000000001", repr(m))
                m.finish()
                break


class Threads(Case):
    def test_the_message_at_hand_is_requeued(self) -> None:
        daemon = self.daemon(b"a")
        with self.assertRaises(OSError), millrace.Reader("t", "c", addresses=[daemon.address]) as reader:
            for _ in reader:
                raise OSError("no")
        self.assertEqual(daemon.commands[-2:], ["REQ 0000000000000001 5000", "CLS"])

    def test_pulled_in_pieces_and_by_many(self) -> None:
        daemon, got = self.daemon(*(b"%d" % i for i in range(20))), []

        def pull(count: int) -> None:
            for _, m in zip(range(count), reader):
                got.append(m.body)
                m.finish()

        with millrace.Reader("t", "c", addresses=[daemon.address], max_in_flight=1) as reader:
            pull(2)
            pull(2)
            with self.thread(lambda: pull(4)), self.thread(lambda: pull(4)):
                pass
        self.assertEqual(got[:4], [b"0", b"1", b"2", b"3"])
        self.assertGreaterEqual(len(got), 12)

    def test_closed_by_its_handler(self) -> None:
        daemon = self.daemon(b"a")
        reader = millrace.Reader("t", "c", addresses=[daemon.address], handler=lambda m: reader.close())
        reader.run()
        self.assertEqual(sorted(daemon.commands[3:]), ["CLS", "FIN 0000000000000001"])

    def test_closed_by_many(self) -> None:
        daemon = self.daemon()
        reader = millrace.Reader("t", "c", addresses=[daemon.address], handler=nothing)
        with self.thread(reader.run):
            daemon.subscriber()
            with self.thread(reader.close), self.thread(reader.close):
                pass

    def test_a_handler_that_never_ends_is_left_behind(self) -> None:
        daemon, began, go = self.daemon(b"a"), threading.Event(), threading.Event()

        def handle(_: millrace.Message) -> None:
            began.set()
            go.wait(PATIENCE)

        reader = millrace.Reader("t", "c", addresses=[daemon.address], handler=handle, shutdown_timeout=0.05)
        with self.thread(reader.run):
            began.wait(PATIENCE)
            reader.close()
        self.assertTrue(self.log.having("1 handlers still run"))
        go.set()

    def test_forgotten(self) -> None:
        daemon = self.daemon(b"a")
        reader = millrace.Reader("t", "c", addresses=[daemon.address])
        next(iter(reader)).finish()
        del reader
        gc.collect()
        daemon.wait_commands("CLS")

    def script(self, code: str, address: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, address],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_interrupted(self) -> None:
        code = """
import millrace, signal, sys
reader = millrace.Reader("t", "c", addresses=[sys.argv[1]], handler=lambda m: None)
signal.signal(signal.SIGTERM, lambda *_: reader.close())
reader.run()
print("in order")
"""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                daemon = self.daemon(b"a")
                process = self.script(code, daemon.address)
                daemon.wait(lambda: daemon.finished)
                process.send_signal(number)
                out, err = process.communicate(timeout=PATIENCE)
                self.assertEqual((out, err, process.returncode), (b"in order\n", b"", 0))
                self.assertEqual(daemon.commands[-1], "CLS")

    def test_terminated_while_it_pulls(self) -> None:
        code = """
import millrace, signal, sys
with millrace.Reader("t", "c", addresses=[sys.argv[1]]) as reader:
    signal.signal(signal.SIGTERM, lambda *_: reader.close())
    for m in reader:
        m.finish()
print("in order")
"""
        daemon = self.daemon(b"a")
        process = self.script(code, daemon.address)
        daemon.wait(lambda: daemon.finished)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.communicate(timeout=PATIENCE), (b"in order\n", b""))

    def test_the_end_of_the_program_is_close(self) -> None:
        code = """
import millrace, sys
reader = millrace.Reader("t", "c", addresses=[sys.argv[1]])
next(iter(reader)).finish()
"""
        daemon = self.daemon(b"a", b"b")
        process = self.script(code, daemon.address)
        self.assertEqual((process.communicate(timeout=PATIENCE), process.returncode), ((b"", b""), 0))
        daemon.wait_commands("CLS", "REQ 0000000000000002 0")

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_forked(self) -> None:
        daemon = self.daemon()
        with millrace.Reader("t", "c", addresses=[daemon.address]) as reader:
            pulling = iter(reader)
            with self.thread(lambda: next(pulling, None)):
                daemon.subscriber()
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        next(iter(reader))
                    except RuntimeError as e:
                        status = 0 if "make a new one in each process" in str(e) else 2
                    reader.close()
                    os._exit(status)
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
                reader.close()


class OnALoop(Case):
    def test_cancelled(self) -> None:
        daemon = self.daemon(b"a", b"b")

        async def main() -> None:
            began, go = asyncio.Event(), asyncio.Event()

            async def handle(_: millrace.Message) -> None:
                began.set()
                await go.wait()

            running = asyncio.ensure_future(millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle).run())
            await began.wait()
            running.cancel()
            await asyncio.to_thread(daemon.wait_commands, "CLS", "REQ 0000000000000002 0")
            go.set()
            with self.assertRaises(asyncio.CancelledError):
                await running

        asyncio.run(main())
        self.assertEqual(daemon.commands[-1], "FIN 0000000000000001")

    def test_cancelled_twice(self) -> None:
        daemon, cancelled = self.daemon(b"a"), []

        async def main() -> None:
            began = asyncio.Event()

            async def handle(_: millrace.Message) -> None:
                began.set()
                try:
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    cancelled.append(True)
                    raise

            running = asyncio.ensure_future(millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle).run())
            await began.wait()
            running.cancel()
            await asyncio.to_thread(daemon.wait_commands, "CLS")
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})

        asyncio.run(main())
        self.assertEqual(cancelled, [True])

    def test_late_handlers_are_cancelled(self) -> None:
        daemon = self.daemon(b"a")

        async def main() -> None:
            began = asyncio.Event()

            async def handle(_: millrace.Message) -> None:
                began.set()
                await asyncio.sleep(PATIENCE)

            reader = millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle, shutdown_timeout=0.05)
            running = asyncio.ensure_future(reader.run())
            await began.wait()
            await reader.close()
            await running

        asyncio.run(main())
        self.assertTrue(self.log.having("are cancelled"))

    def test_a_handler_whose_own_work_was_cancelled(self) -> None:
        daemon = self.daemon(b"a", b"b")

        async def main() -> None:
            async def handle(m: millrace.Message) -> None:
                if m.body == b"a":
                    raise asyncio.CancelledError

            async with millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle) as reader:
                running = asyncio.ensure_future(reader.run())
                await asyncio.to_thread(daemon.wait_commands, "REQ 0000000000000001 5000")
                await asyncio.to_thread(daemon.wait, lambda: daemon.finished)
                await reader.close()
                await running

        asyncio.run(main())

    def test_closed_by_its_handler(self) -> None:
        daemon = self.daemon(b"a")

        async def main() -> None:
            async def handle(_: millrace.Message) -> None:
                await reader.close()

            reader = millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle)
            await reader.run()

        asyncio.run(main())
        self.assertEqual(sorted(daemon.commands[-2:]), ["CLS", "FIN 0000000000000001"])

    def test_handlers_that_never_wait_let_heartbeats_through(self) -> None:
        daemon, stop = self.daemon(), threading.Event()

        async def main() -> None:
            def handle(m: millrace.Message) -> None:
                stop.wait(0.002)

            reader = millrace.AsyncReader("t", "c", addresses=[daemon.address], handler=handle, max_in_flight=2500)
            running = asyncio.ensure_future(reader.run())
            peer = await asyncio.to_thread(daemon.subscriber)
            peer.send(b"".join(message(i, b"x") for i in range(2500)) + HEARTBEAT)
            await asyncio.to_thread(daemon.wait, lambda: daemon.nops)
            self.assertLess(reader.stats().finished, 2500)
            stop.set()
            await reader.close()
            await running

        asyncio.run(main())

    def test_the_message_at_hand_is_requeued(self) -> None:
        daemon = self.daemon(b"a")

        async def main() -> None:
            async with millrace.AsyncReader("t", "c", addresses=[daemon.address]) as reader:
                async for _ in reader:
                    raise OSError("no")

        with self.assertRaises(OSError):
            asyncio.run(main())
        self.assertEqual(daemon.commands[-2:], ["REQ 0000000000000001 5000", "CLS"])

    def test_answered_from_a_thread(self) -> None:
        daemon = self.daemon(*[b"x"] * 10)

        async def main() -> None:
            async with millrace.AsyncReader("t", "c", addresses=[daemon.address]) as reader:
                count = 0
                async for m in reader:
                    await asyncio.to_thread(m.finish)
                    if (count := count + 1) == 10:
                        break
                await asyncio.to_thread(daemon.wait, lambda: len(daemon.finished) == 10)

        asyncio.run(main())
