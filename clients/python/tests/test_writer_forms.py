"""What Writer alone, and AsyncWriter alone, has to see to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from typing import Any

import millrace
from tests.publishing import PATIENCE, Case, Daemon, Outcomes
from tests.writers import NOBODY


class WithThreads(Case):
    """What Writer alone has to see to."""

    def test_many_threads_share_commands(self) -> None:
        daemon = self.daemon()
        with millrace.Writer(daemon.address) as writer:

            def publish(name: int) -> None:
                for n in range(50):
                    writer.publish("t", b"%d-%d" % (name, n))

            for join in [self.in_thread(lambda name=name: publish(name)) for name in range(16)]:
                join()
            self.assertLess(writer.stats().batches, 800)
        daemon.wait_stored(b"%d-%d" % (a, n) for a in range(16) for n in range(50))

    def test_callbacks_may_publish_even_if_there_is_no_room(self) -> None:
        daemon = self.daemon()
        with millrace.Writer(daemon.address, max_in_flight=1) as writer:
            outcomes = Outcomes()

            def again(error: object) -> None:
                writer.publish_async("t", b"again", outcomes)
                outcomes(None)

            writer.publish_async("t", b"a", again)
            self.assertEqual(outcomes.wait(2), [None, None])
            refused: list[Exception] = []

            def wait(error: object) -> None:
                for method in (writer.flush, writer.close):
                    try:
                        method()
                    except RuntimeError as e:
                        refused.append(e)

            writer.publish_async("t", b"b", wait)
            writer.flush()
            self.assertEqual(len(refused), 2)

    def test_a_callback_outlives_its_writer(self) -> None:
        daemon = self.daemon()
        writer, go, entered = millrace.Writer(daemon.address, close_timeout=0.1), threading.Event(), threading.Event()
        died: list[object] = []
        hook, threading.excepthook = threading.excepthook, died.append
        try:

            def block(error: object) -> None:
                entered.set()
                go.wait(PATIENCE)

            writer.publish_async("t", b"a", block)
            self.assertTrue(entered.wait(PATIENCE))
            writer.close()
            go.set()
            for thread in threading.enumerate():
                if thread.name == "millrace callbacks":
                    thread.join(PATIENCE)
        finally:
            threading.excepthook = hook
        self.assertEqual(died, [])
        self.assertTrue(self.log.having("closed while a callback was running"))

    def test_a_hook_must_not_wait_for_what_calls_it(self) -> None:
        refused: list[Exception] = []

        def hook(published: object) -> None:
            for call in (lambda: writer.publish("t", b"again"), writer.flush, writer.close):
                try:
                    call()
                except RuntimeError as e:
                    refused.append(e)

        with millrace.Writer(self.daemon().address, on_publish=hook) as writer:
            writer.publish("t", b"a")
        self.assertEqual(len(refused), 3)

    def test_ctrl_c(self) -> None:
        daemon = self.daemon(lambda c: None)
        main = threading.get_ident()
        with self.assertRaises(TimeoutError), millrace.Writer([daemon.address], close_timeout=0.1) as writer:
            for wanted in (1, 2):

                def interrupt() -> None:
                    daemon.wait(lambda: len(daemon.heard) == wanted)
                    signal.pthread_kill(main, signal.SIGINT)

                join = self.in_thread(interrupt)
                with self.assertRaises(KeyboardInterrupt):
                    writer.publish("t", b"%d" % wanted)
                join()
        self.assertEqual(daemon.stored, [b"1", b"2"])

    def test_a_writer_that_is_forgotten_ends(self) -> None:
        daemon = self.daemon()
        writer = millrace.Writer(daemon.address)
        for n in range(100):
            writer.publish_async("t", b"%d" % n)
        del writer
        daemon.wait(lambda: len(daemon.stored) == 100)

    def program(self, text: str, daemon: Daemon) -> subprocess.CompletedProcess[str]:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", text, daemon.address],
            cwd=folder, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def test_a_program_that_forgets_to_close(self) -> None:
        daemon = self.daemon()
        for ending in ("", "raise SystemExit(0)", "1 / 0"):
            daemon.heard.clear()
            ran = self.program(
                "import sys, threading, time, millrace\n"
                "writer = millrace.Writer(sys.argv[1])\n"
                "def late():\n"
                "    for n in range(100): writer.publish_async('t', b'%d' % n, lambda e: print('told', e))\n"
                "writer.publish('t', b'first')\n"
                f"threading.Thread(target=late).start()\n{ending}\n",
                daemon,
            )
            daemon.wait(lambda: len(daemon.stored) == 101)
            self.assertEqual((ran.stdout.count("told None"), "Traceback" in ran.stderr), (100, "1 / 0" in ending), ran)

    def test_a_program_that_ends_while_nobody_listens(self) -> None:
        ran = self.program(
            "import millrace\n"
            "writer = millrace.Writer('127.0.0.1:1', close_timeout=0.2)\n"
            "writer.publish_async('t', b'x')\n",
            self.daemon(),
        )
        self.assertEqual(ran.returncode, 0)
        self.assertIn("1 messages that were not stored", ran.stderr)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork")
    def test_a_fork(self) -> None:
        daemon = self.daemon()
        ran = self.program(
            "import os, sys, tempfile, millrace\n"
            "folder = tempfile.TemporaryDirectory()\n"
            "spooling = millrace.Writer(sys.argv[1], spool=folder.name)\n"
            "unused, writer = millrace.Writer(sys.argv[1]), millrace.Writer(sys.argv[1])\n"
            "writer.publish('t', b'parent')\n"
            "if os.fork() == 0:\n"
            "    unused.publish('t', b'child')\n"
            "    unused.close()\n"
            "    late = spooling.publish, writer.publish\n"
            "    for call in (*(lambda f=f: f('t', b'x') for f in late), writer.close, writer.flush):\n"
            "        try: call()\n"
            "        except RuntimeError as e: print(e)\n"
            "    sys.stdout.flush()\n"
            "    os._exit(0)\n"
            "os.wait()\n"
            "spooling.close()\n"
            "writer.publish('t', b'parent')\n"
            "writer.close()\n",
            daemon,
        )
        self.assertEqual(ran.stdout.count("make a new one in each process, after the fork"), 4, ran)
        self.assertEqual(sorted(daemon.stored), [b"child", b"parent", b"parent"])


class OnALoop(Case):
    """What AsyncWriter alone has to see to."""

    def run_async(self, work: Any) -> Any:
        return asyncio.run(asyncio.wait_for(work, PATIENCE))

    def test_tasks_share_commands(self) -> None:
        daemon = self.daemon()

        async def main() -> None:
            async with millrace.AsyncWriter(daemon.address) as writer:
                await writer.publish("t", b"first")
                await asyncio.gather(*(writer.publish("t", b"%d" % n) for n in range(500)))
                self.assertLessEqual(writer.stats().batches, 50)

        self.run_async(main())
        self.assertEqual(len(daemon.stored), 501)

    def test_cancellation_takes_back_what_is_not_sent(self) -> None:
        async def main() -> None:
            async with millrace.AsyncWriter(NOBODY, max_in_flight=1) as writer:
                task = asyncio.create_task(writer.publish("t", b"a"))
                waiting = asyncio.create_task(writer.publish("t", b"b"))
                while writer.stats().in_flight < 1:
                    await asyncio.sleep(0)
                for t in (waiting, task):
                    t.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await t
                self.assertEqual(writer.stats().in_flight, 0)

        self.run_async(main())

    def test_of_another_loop(self) -> None:
        daemon = self.daemon()
        writer = millrace.AsyncWriter(daemon.address)
        self.run_async(writer.publish("t", b"a"))
        with self.assertRaisesRegex(RuntimeError, "another event loop"):
            self.run_async(writer.publish("t", b"a"))
        writer._closing = object()  # type: ignore[assignment] # its loop is gone, and all it had with it
