"""python -m millrace, as a shell sees it."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

from . import publishing
from .consuming import Case, Daemon, response
from .publishing import PATIENCE

ROOT = pathlib.Path(__file__).parents[1]


class CLI(Case):
    def start(self, *args: str, stdin: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "millrace", *args],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.communicate()

    def ended(self, process: subprocess.Popen[bytes], status: int, stdin: bytes | None = None) -> tuple[str, str]:
        out, err = process.communicate(stdin, timeout=PATIENCE)
        self.assertEqual(process.returncode, status, err.decode())
        return (out or b"").decode(), err.decode()

    def cli(self, *args: str, status: int = 0, stdin: bytes | None = None) -> tuple[str, str]:
        process = self.start(*args, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        return self.ended(process, status, stdin)

    def publishing_daemon(self) -> publishing.Daemon:
        return publishing.Case.daemon(self)


class Publish(CLI):
    def test_arguments(self) -> None:
        daemon = self.publishing_daemon()
        self.assertEqual(self.cli("publish", "--qd", daemon.address, "t", "hello", "world"), ("", ""))
        self.assertEqual(daemon.stored, [b"hello", b"world"])

    def test_lines(self) -> None:
        daemon = self.publishing_daemon()
        self.cli("publish", "--qd", daemon.address, "t", stdin=b"a\n\nb\r\nc")
        self.assertEqual(daemon.stored, [b"a", b"b\r", b"c"])

    def test_through_lookupds_and_later(self) -> None:
        daemon = self.publishing_daemon()
        listed = {"producers": [{"broadcast_address": "127.0.0.1", "tcp_port": int(daemon.address.split(":")[1])}]}
        lookupd = self.lookupd(nodes=[response(listed)])
        self.cli("publish", "--lookupd", lookupd.address, "--delay", "1.5", "t", "a")
        self.assertIn("DPUB t 1500", daemon.lines)

    def test_interrupted_keeps_what_it_took(self) -> None:
        daemon = self.publishing_daemon()
        publish = self.start("publish", "--qd", daemon.address, "t", stdin=subprocess.PIPE)
        assert publish.stdin is not None
        publish.stdin.write(b"a\n")
        publish.stdin.flush()
        daemon.wait_stored([b"a"])
        publish.send_signal(signal.SIGTERM)
        publish.wait(PATIENCE)  # with its input open
        self.assertIn("interrupted; published 1", self.ended(publish, 130)[1])

    def test_says_what_is_wrong(self) -> None:
        daemon = self.publishing_daemon()
        for args, status, says in (
            (["bad topic", "a"], 1, "a name is 1 to 64"),
            (["t", "a", "--qd", "nowhere"], 2, "address 'nowhere' must be host:port"),
            (["t", "a", "--qd", "127.0.0.1:1", "--timeout", "0.1"], 1, "was not stored"),
            (["t", "a", "--qd", daemon.address, "--tls", "--timeout", "0.1"], 1, "does not offer it"),
            (["t", "a", "--tls-ca", "/nowhere"], 2, "--tls-ca /nowhere: No such file"),
        ):
            with self.subTest(args):
                _, err = self.cli("publish", *args, status=status)
                self.assertRegex(err.splitlines()[-1], says)
                self.assertNotIn("Traceback", err)


class Tail(CLI):
    def test_so_many(self) -> None:
        daemon = self.daemon(b"a", b"b", b"c")
        out, _ = self.cli("tail", "--qd", daemon.address, "t", "-n", "2")
        self.assertEqual(out, "a\nb\n")
        self.assertRegex(daemon.commands[1], r"SUB t tail\d{6}#ephemeral")
        self.assertEqual(len(daemon.finished), 2)

    def test_until_it_is_interrupted(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                daemon = self.daemon(b"a")
                tail = self.start("tail", "--qd", daemon.address, "t", "--channel", "c")
                daemon.wait_commands("SUB t c", "FIN")
                tail.send_signal(number)
                self.assertEqual(self.ended(tail, 0), ("a\n", ""))
                self.assertEqual(daemon.commands[-1], "CLS")

    def test_into_a_pipe_that_ends(self) -> None:
        daemon = self.daemon(b"a")
        tail = self.start("tail", "--qd", daemon.address, "t")
        assert tail.stdout is not None
        self.assertEqual(tail.stdout.readline(), b"a\n")
        tail.stdout.close()
        daemon.hold(*[b"b"] * 10)
        tail.stdout = None
        self.assertEqual(self.ended(tail, 0), ("", ""))

    def test_waits_for_a_daemon(self) -> None:
        daemon = Daemon()
        daemon.close()
        tail = self.start("tail", "--qd", daemon.address, "t")
        assert tail.stderr is not None
        self.assertIn(b"cannot connect, trying again", tail.stderr.readline())
        tail.send_signal(signal.SIGINT)
        self.ended(tail, 0)

    def test_says_what_is_wrong(self) -> None:
        for args, says in (
            (["tail", "t", "--channel", "bad channel"], "channel 'bad channel' is not a valid name"),
            (["tail", "t", "-n", "-1"], "-n: -1 must not be negative"),
            (["tail"], "TOPIC"),
            (["wag"], "invalid choice"),
        ):
            with self.subTest(args):
                self.assertIn(says, self.cli(*args, status=2)[1].splitlines()[-1])

    def test_help(self) -> None:
        for args in ([], ["--help"], ["publish", "--help"], ["tail", "--help"]):
            self.assertIn("usage: python -m millrace", self.cli(*args)[0])
