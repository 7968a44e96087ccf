"""Writer and AsyncWriter with a spool."""

from __future__ import annotations

import os
import tempfile
from typing import Any
from unittest import mock

import millrace
from millrace import UnavailableError
from tests.publishing import OK, AsyncForm, Outcomes, refusal, wait_until
from tests.writers import NOBODY, Form


class Spools(Form):
    make = millrace.Writer

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "spool")

    def spooling(self, *addresses: Any, **settings: Any) -> Any:
        return self.writer(*addresses, spool=self.path, spool_after=0.05, **settings)

    def test_an_outage(self) -> None:
        daemon = self.daemon()
        writer = self.spooling(daemon)
        writer.publish("t", b"0")
        wait_until(lambda: writer.stats().spooled == 0)
        self.stop(daemon, writer)
        for n in range(1, 4):
            writer.publish("t", b"%d" % n)
        writer.publish_many("u", [b"4", b"5"])
        self.assertGreaterEqual(writer.stats().spooled, 1)
        daemon.start()
        wait_until(lambda: writer.stats().spooled == 0)
        writer.publish("t", b"6")
        self.assertEqual(daemon.stored, [b"%d" % n for n in range(7)])
        self.assertEqual(writer.stats().published, 7)

    def test_a_restart_in_an_outage(self) -> None:
        daemon = self.daemon()
        daemon.stop()
        for n in range(3):
            writer = self.spooling(daemon)
            writer.publish("t", b"%d" % n)
            writer.close()
        daemon.start()
        writer = self.spooling(daemon)
        daemon.wait_stored([b"0", b"1", b"2"])  # though nothing is published
        writer.publish("t", b"3")
        wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"0", b"1", b"2", b"3"])

    def test_close_spools_what_is_not_sent(self) -> None:
        writer, outcomes = self.writer(NOBODY, spool=self.path, spool_after=100, close_timeout=0.05), Outcomes()
        writer.publish_async("t", b"a", outcomes)
        writer.close()
        self.assertEqual(outcomes.errors, [None])
        spool = millrace.DirectorySpool(self.path)
        self.assertEqual(len(spool), 1)
        spool.close()

    def test_a_record_that_is_refused_is_dropped_and_told(self) -> None:
        daemon = self.daemon(lambda c: refusal("E_BAD_MESSAGE too big") if b"large" in c.bodies else OK)
        daemon.stop()
        writer = self.spooling(daemon)
        for body in (b"a", b"large", b"b"):
            writer.publish("t", body)
        daemon.start()
        wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"a", b"b"])
        self.assertTrue(self.log.having("1 spooled messages are dropped"))

    def test_what_was_delivered_and_cannot_be_dropped_is_not_sent_again(self) -> None:
        class Stubborn:
            def __init__(self) -> None:
                self.records: list[bytes] = []
                self.drops = 0

            def put(self, record: bytes) -> None:
                self.records.append(record)

            def peek(self) -> bytes | None:
                return self.records[0] if self.records else None

            def drop(self) -> None:
                self.drops += 1
                if self.drops == 1:
                    raise OSError("disk full")
                del self.records[0]

            def __len__(self) -> int:
                return len(self.records)

            def close(self) -> None: ...

        daemon = self.daemon()
        daemon.stop()
        writer = self.writer(daemon, spool=Stubborn(), spool_after=0)
        writer.publish("t", b"a")
        with mock.patch("millrace._spooler._PAUSE", 0.01):
            daemon.start()
            wait_until(lambda: writer.stats().spooled == 0)
        self.assertEqual(daemon.stored, [b"a"])

    def test_a_spool_that_fails(self) -> None:
        class Full:
            def put(self, record: bytes) -> None:
                raise OSError("disk full")

            def peek(self) -> None:
                return None

            def drop(self) -> None: ...

            def __len__(self) -> int:
                return 0

            def close(self) -> None: ...

        writer = self.writer(NOBODY, spool=Full(), spool_after=0)
        with self.assertRaisesRegex(UnavailableError, "disk full"):
            writer.publish("t", b"a")


class AsyncSpools(Spools):
    make = AsyncForm
