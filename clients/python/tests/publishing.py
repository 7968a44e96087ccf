"""A daemon to publish to, both forms of a Writer as one, and a test case after
which nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import ssl
import struct
import sys
import threading
import time
import unittest
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import millrace

PATIENCE = 20.0  # seconds, for what should take none

RESPONSE, ERROR = 0, 1


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", len(data) + 4, kind) + data


OK = frame(RESPONSE, b"OK")
HEARTBEAT = frame(RESPONSE, b"_heartbeat_")


def refusal(text: str) -> bytes:
    return frame(ERROR, text.encode())


class Command:
    def __init__(self, line: str, bodies: list[bytes]) -> None:
        self.line = line
        self.bodies = bodies

    def __repr__(self) -> str:
        return " ".join([self.line, *(b[:20].decode("utf-8", "replace") for b in self.bodies)])


#: Says what is answered to a publish: bytes, None for nothing; CUT ends the connection
#: without a word, and so does what follows an error.
Answer = Callable[[Command], "bytes | None"]
CUT = b""


class Daemon:
    """A queue daemon that keeps what is published. heard has all commands but NOPs."""

    def __init__(self, answer: Answer = lambda c: OK, *, tls: ssl.SSLContext | None = None, **info: Any) -> None:
        self.answer = answer
        self.heard: list[Command] = []
        self.nops = 0
        self.reads = threading.Event()  # cleared: nothing more is read
        self.reads.set()
        self._info = {"version": "1.3.0", "max_rdy_count": 2500, "tls_v1": tls is not None, **info}
        self._tls = tls
        self._changed = threading.Condition()
        self._port = 0
        self._threads: list[threading.Thread] = []
        self._peers: list[socket.socket] = []
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def stored(self) -> list[bytes]:
        return [body for c in self.heard for body in c.bodies]

    @property
    def lines(self) -> list[str]:
        return [c.line for c in self.heard]

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._begin(self._accept)

    def stop(self) -> None:
        """Ends as a crash does. start() may come after it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for accepting in self._threads[:1]:
            accepting.join()  # nobody is accepted any more
        self.cut()
        self.reads.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def cut(self) -> None:
        with self._changed:
            peers, self._peers = self._peers, []
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        """Says something to all that are connected."""
        for peer in list(self._peers):
            peer.sendall(data)

    def wait(self, condition: Callable[[], object]) -> None:
        """Waits until condition, which is looked at after each command, holds."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(f"waited in vain; heard {self.heard}")

    def wait_stored(self, bodies: Iterable[bytes]) -> None:
        wanted = sorted(bodies)
        self.wait(lambda: sorted(self.stored) == wanted)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._changed:
                    self._peers.append(sock)
                self._begin(lambda sock=sock: self._serve(sock))

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, struct.error):
            sock = self._talk(sock)
        with self._changed:
            if sock in self._peers:
                self._peers.remove(sock)
        sock.close()

    def _talk(self, sock: socket.socket) -> socket.socket:
        stream = sock.makefile("rb")
        try:
            if stream.read(4) != b"  V2":
                return sock  # it was closed at once
            while line := stream.readline():
                command = self._parse(line.decode().strip(), stream)
                if command.line == "IDENTIFY":
                    sock.sendall(frame(RESPONSE, json.dumps(self._info).encode()))
                    if self._tls is not None:
                        stream.close()
                        sock = self._secure(sock)
                        stream = sock.makefile("rb")
                elif not self._execute(command, sock):
                    break
                self.reads.wait(PATIENCE)
            return sock
        finally:
            stream.close()

    def _execute(self, command: Command, sock: socket.socket) -> bool:
        """Returns whether the conversation goes on."""
        reply = None if command.line == "NOP" else self.answer(command)
        goes_on = reply is None or reply[4:8] == OK[4:8]
        with self._changed:
            if command.line == "NOP":
                self.nops += 1
            elif goes_on:
                self.heard.append(command)
            self._changed.notify_all()
        if reply:
            sock.sendall(reply)
        return goes_on

    def _secure(self, sock: socket.socket) -> socket.socket:
        assert self._tls is not None
        with self._changed:
            self._peers.remove(sock)
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._peers.append(sock)
        try:
            sock.do_handshake()
            sock.sendall(OK)
        except OSError:
            sock.close()
            raise
        return sock

    def _parse(self, line: str, stream: Any) -> Command:
        name = line.partition(" ")[0]
        if name not in ("IDENTIFY", "AUTH", "PUB", "MPUB", "DPUB"):
            return Command(line, [])
        body = self._sized(stream)
        if name == "AUTH":
            return Command(line, [])
        if name != "MPUB":
            return Command(line, [body] if name.endswith("PUB") else [])
        count, at, bodies = struct.unpack_from(">I", body)[0], 4, []
        for _ in range(count):
            (size,) = struct.unpack_from(">I", body, at)
            bodies.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        assert at == len(body)
        return Command(line, bodies)

    def _sized(self, stream: Any) -> bytes:
        (size,) = struct.unpack(">I", stream.read(4))
        body: bytes = stream.read(size)
        if len(body) < size:
            raise EOFError
        return body


class AsyncForm:
    """An AsyncWriter, used as a Writer: its loop runs in a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self.writer = self._made(lambda: millrace.AsyncWriter(*args, **kwargs))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _made(self, make: Callable[[], millrace.AsyncWriter]) -> millrace.AsyncWriter:
        async def on_loop() -> millrace.AsyncWriter:
            return make()

        try:
            return self._loop.run_until_complete(on_loop())
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> AsyncForm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        try:
            self._run(self.writer.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def stats(self) -> millrace.WriterStats:
        return self.writer.stats()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.writer, name)
        return lambda *args, **kwargs: self._run(method(*args, **kwargs))

    def _run(self, work: Any) -> Any:
        if self._loop.is_closed():
            work.close()
            raise millrace.ClosedError("the writer is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


class Outcomes:
    """A callback that remembers."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self._changed = threading.Condition()

    def __call__(self, error: Exception | None) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Exception | None]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.errors) >= count, PATIENCE):
                raise AssertionError(f"waited in vain for {count} outcomes; there are {len(self.errors)}")
        return self.errors


class Case(unittest.TestCase):
    """A test after which no thread, socket or warning is left."""

    def setUp(self) -> None:
        gc.collect()
        self._complaints: list[str] = []
        self._before = set(threading.enumerate()), sockets()
        hook, sys.unraisablehook = sys.unraisablehook, lambda u: self._complaints.append(repr(u.exc_value))
        catcher = warnings.catch_warnings()
        catcher.__enter__()
        warnings.simplefilter("error")
        self.log = _Log()
        loggers = {"millrace": self.log, "asyncio": _Complaining(self._complaints)}
        for name, handler in loggers.items():
            logging.getLogger(name).addHandler(handler)
        logging.getLogger("millrace").propagate = False

        def restore() -> None:
            for name, handler in loggers.items():
                logging.getLogger(name).removeHandler(handler)
            logging.getLogger("millrace").propagate = True
            catcher.__exit__(None, None, None)
            sys.unraisablehook = hook

        self.addCleanup(restore)
        self.addCleanup(self._audit)

    def _audit(self) -> None:
        self.log.records.clear()
        gc.collect()
        threads, open_sockets = self._before
        wait_until(lambda: not set(threading.enumerate()) - threads, lambda: f"threads left: {threading.enumerate()}")
        wait_until(lambda: sockets() <= open_sockets, lambda: f"{sockets() - open_sockets} sockets left")
        self.assertEqual(self._complaints, [])

    def daemon(self, answer: Answer = lambda c: OK, **more: Any) -> Daemon:
        daemon = Daemon(answer, **more)
        self.addCleanup(daemon.stop)
        return daemon

    def in_thread(self, work: Callable[[], object]) -> Callable[[], Any]:
        """Begins work in a thread; what is returned waits for what it returns or raises."""
        results: list[object] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as e:
                errors.append(e)

        thread = threading.Thread(target=run)
        thread.start()

        def join() -> object:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive(), "it does not end")
            if errors:
                raise errors[0]
            return results[0]

        return join


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def having(self, text: str) -> list[str]:
        return [line for r in self.records if text in (line := r.getMessage())]


class _Complaining(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("Executing"):  # for long: the machine is busy
            self._complaints.append(f"asyncio: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


def sockets() -> int:
    """How many are open, where the system shows them."""
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count


def wait_until(condition: Callable[[], object], what: Callable[[], str] = lambda: "waited in vain") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what())
        time.sleep(0.002)
