"""The spool's directory and its records."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest

from millrace import DirectorySpool, Spool, SpoolError
from millrace._batch import Batch
from millrace._spool import decode, encode


class Directory(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "a", "spool")

    def open(self) -> DirectorySpool:
        spool = DirectorySpool(self.path)
        self.addCleanup(spool.close)
        return spool

    def test_order_also_over_a_restart(self) -> None:
        spool = self.open()
        self.assertIsInstance(spool, Spool)
        self.assertEqual((len(spool), spool.peek()), (0, None))
        for n in range(5):
            spool.put(b"%d" % n)
        self.assertEqual(spool.peek(), b"0")
        spool.drop()
        spool.close()
        spool = self.open()
        got = []
        while (record := spool.peek()) is not None:
            self.assertEqual(len(spool), 4 - len(got))
            got.append(record)
            spool.drop()
            if len(got) == 2:
                spool.put(b"5")
                self.assertEqual(len(spool), 3)
                break
        while (record := spool.peek()) is not None:
            got.append(record)
            spool.drop()
        self.assertEqual(got, [b"1", b"2", b"3", b"4", b"5"])

    def test_what_was_dropped_takes_no_room(self) -> None:
        spool = self.open()
        for _ in range(50):
            spool.put(os.urandom(100_000))
        for _ in range(50):
            spool.peek()
            spool.drop()
        self.assertLess(sum(os.path.getsize(os.path.join(self.path, f)) for f in os.listdir(self.path)), 200_000)

    def test_one_at_a_time(self) -> None:
        spool = self.open()
        with self.assertRaisesRegex(SpoolError, "another process, or Writer, has it open"):
            DirectorySpool(self.path)
        spool.close()
        self.open().put(b"x")

    def test_what_is_no_spool(self) -> None:
        os.makedirs(self.path)
        with open(os.path.join(self.path, "millrace.spool"), "wb") as f:
            f.write(b"something else" * 1000)
        with self.assertRaisesRegex(SpoolError, "millrace.spool: file is not a database"):
            DirectorySpool(self.path)
        with self.assertRaises(SpoolError):
            DirectorySpool("/dev/null/spool")

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_child_leaves_it_alone(self) -> None:
        program = (
            "import os, sys\n"
            "from millrace import DirectorySpool, SpoolError\n"
            "spool = DirectorySpool(sys.argv[1])\n"
            "spool.put(b'0')\n"
            "child = os.fork()\n"
            "if not child:\n"
            "    try: spool.put(b'child')\n"
            "    except SpoolError as e: sys.exit(str(e))\n"
            "os.waitpid(child, 0)\n"
            "spool.put(b'1')\n"
            "os._exit(0)\n"
        )
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        ran = subprocess.run([sys.executable, "-c", program, self.path], cwd=folder, timeout=60, stderr=subprocess.PIPE, text=True)
        self.assertRegex(ran.stderr, "it was open when process [0-9]+ forked")
        self.assertEqual(len(self.open()), 2)

    def test_a_crash(self) -> None:
        program = (
            "import os, signal, sys\n"
            "from millrace import DirectorySpool\n"
            "spool = DirectorySpool(sys.argv[1])\n"
            "for n in range(10): spool.put(b'%d' % n)\n"
            "spool.peek(); spool.drop()\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        subprocess.run([sys.executable, "-c", program, self.path], cwd=folder, timeout=60)
        spool = self.open()
        self.assertEqual((len(spool), spool.peek()), (9, b"1"))


class Records(unittest.TestCase):
    def batch(self, *bodies: bytes, delay: float | None = None) -> Batch:
        batch = Batch("topic", 0)
        batch.items = [part for body in bodies for part in (b"", body, None)]
        batch.delay = delay
        return batch

    def test_round_trip(self) -> None:
        batch = decode(encode(self.batch(b"a\n", b"bc"), 1000), 2000, 5)
        self.assertEqual((batch.topic, batch.bodies, batch.delay, batch.bytes, batch.born), ("topic", [b"a\n", b"bc"], None, 4, 5))
        self.assertEqual(batch.command(), b"MPUB topic\n\0\0\0\x10\0\0\0\2\0\0\0\2a\n\0\0\0\2bc")

    def test_a_deferred_message_keeps_its_due_time(self) -> None:
        record = encode(self.batch(b"a", delay=60), 1000)
        for now, delay in ((1000, 60), (1010, 50), (2000, 0)):
            self.assertEqual(decode(record, now, 0).delay, delay)

    def test_damage(self) -> None:
        record = encode(self.batch(b"a"), 1000)
        for broken in (b"", record[:-1], b"x" + record, b"[]\n\0\0\0\0", b'{"topic": 1}\n', record + b"x"):
            with self.assertRaises(ValueError):
                decode(broken, 0, 0)
