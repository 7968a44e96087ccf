"""A daemon to consume from, a lookupd, and a test case after which nothing is left."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from . import publishing
from .publishing import ERROR, PATIENCE, RESPONSE, frame

MESSAGE = 2


def message(id: int | str, body: bytes, attempts: int = 1, timestamp: int = 1) -> bytes:
    name = id if isinstance(id, str) else f"{id:016x}"
    return frame(MESSAGE, struct.pack(">qH", timestamp, attempts) + name.encode() + body)


class Peer:
    """A connection of a Daemon's."""

    def __init__(self, daemon: Daemon, sock: socket.socket) -> None:
        self.daemon = daemon
        self.identity: dict[str, Any] = {}
        self.ready = 0
        self.in_flight: dict[str, tuple[bytes, int]] = {}
        self.closing = False
        self.gone = False
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(data)

    def cut(self) -> None:
        """End the connection as a crash does."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        with self._sock, self._sock.makefile("rb") as stream, contextlib.suppress(OSError, EOFError):
            assert stream.read(4) == b"  V2"
            while line := stream.readline():
                words = line.decode().split()
                body = b""
                if words[0] in ("IDENTIFY", "AUTH"):
                    (size,) = struct.unpack(">I", stream.read(4))
                    body = stream.read(size)
                self.daemon.command(self, words, body)
        self.daemon.left(self)


class Daemon:
    """A queue daemon of one channel. What it holds it delivers as far as RDY allows;
    commands says all that it heard but NOPs, as text."""

    def __init__(self, *bodies: bytes, info: dict[str, Any] | None = None, extension: dict[str, Any] | None = None) -> None:
        self.info = {"max_rdy_count": 2500, "msg_timeout": 60_000, "max_msg_timeout": 900_000, "version": "1.3.0", **(info or {})}
        self.extension = extension
        self.commands: list[str] = []
        self.finished: list[str] = []  # IDs
        self.nops = 0
        self.peers: list[Peer] = []
        self.silent: set[str] = set()  # commands that are not answered
        self.greeting: bytes | None = None  # what is answered to IDENTIFY instead
        self._queue: deque[tuple[str, bytes, int]] = deque()
        self._names = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.hold(*bodies)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                peer = Peer(self, sock)
                thread = threading.Thread(target=peer.run)
                with self._changed:
                    self.peers.append(peer)
                    self._threads.append(thread)
                    self._changed.notify_all()
                thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for peer in self.peers:
            peer.cut()
        for thread in self._threads:
            thread.join()

    def hold(self, *bodies: bytes) -> None:
        """Publish."""
        with self._changed:
            for body in bodies:
                self._names += 1
                self._queue.append((f"{self._names:016x}", body, 1))
            self._deliver()

    def _deliver(self) -> None:
        for peer in self.peers:
            out = b""
            while self._queue and not peer.closing and not peer.gone and len(peer.in_flight) < peer.ready:
                id, body, attempts = self._queue.popleft()
                peer.in_flight[id] = body, attempts
                out += message(id, body, attempts)
            if out:
                peer.send(out)

    def command(self, peer: Peer, words: list[str], body: bytes) -> None:
        with self._changed:
            if words[0] == "NOP":
                self.nops += 1
            else:
                self.commands.append(" ".join(words))
            if words[0] == "CLS":
                peer.closing = True
            if words[0] not in self.silent:
                getattr(self, "_" + words[0].lower())(peer, words, body)
            self._deliver()
            self._changed.notify_all()

    def left(self, peer: Peer) -> None:
        with self._changed:
            peer.gone = True
            for id, (body, attempts) in peer.in_flight.items():
                self._queue.append((id, body, attempts + 1))
            peer.in_flight.clear()
            self._deliver()
            self._changed.notify_all()

    def _identify(self, peer: Peer, words: list[str], body: bytes) -> None:
        peer.identity = json.loads(body)
        info = dict(self.info)
        if self.extension is not None and "millrace" in peer.identity:
            info["millrace"] = self.extension
        peer.send(self.greeting or frame(RESPONSE, json.dumps(info).encode()))

    def _sub(self, peer: Peer, words: list[str], body: bytes) -> None:
        peer.send(frame(RESPONSE, b"OK"))

    def _seek(self, peer: Peer, words: list[str], body: bytes) -> None:
        if words[1] == "nowhere":
            peer.send(frame(ERROR, b"E_SEEK_FAILED SEEK nowhere failed"))
        else:
            peer.in_flight.clear()
            peer.send(frame(RESPONSE, b"OK"))

    def _rdy(self, peer: Peer, words: list[str], body: bytes) -> None:
        peer.ready = int(words[1])

    def _fin(self, peer: Peer, words: list[str], body: bytes) -> None:
        if peer.in_flight.pop(words[1], None) is None:
            peer.send(frame(ERROR, f"E_FIN_FAILED FIN {words[1]} failed ID not in flight".encode()))
        else:
            self.finished.append(words[1])

    def _req(self, peer: Peer, words: list[str], body: bytes) -> None:
        body, attempts = peer.in_flight.pop(words[1], (b"", 0))
        if words[2] == "0" and attempts:
            self._queue.append((words[1], body, attempts + 1))

    def _touch(self, peer: Peer, words: list[str], body: bytes) -> None:
        pass

    def _nop(self, peer: Peer, words: list[str], body: bytes) -> None:
        pass

    def _cls(self, peer: Peer, words: list[str], body: bytes) -> None:
        peer.send(frame(RESPONSE, b"CLOSE_WAIT"))

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until condition, which is looked at after each command, holds."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(f"waited in vain; heard {self.commands}")

    def wait_commands(self, *prefixes: str) -> None:
        """Wait until commands with these beginnings were heard, in this order."""
        self.wait(lambda: _in_order(self.commands, prefixes))

    def peer(self) -> Peer:
        """The one that is connected, once it is."""
        self.wait(lambda: any(not p.gone for p in self.peers))
        return next(p for p in self.peers if not p.gone)

    def subscriber(self) -> Peer:
        """The one that is connected, once it has credit."""
        self.wait(lambda: any(not p.gone and p.ready for p in self.peers))
        return next(p for p in self.peers if not p.gone and p.ready)


def _in_order(commands: list[str], prefixes: tuple[str, ...]) -> bool:
    rest = iter(commands)
    return all(any(c.startswith(p) for c in rest) for p in prefixes)


class Lookupd:
    """Answers HTTP requests with answers[path], a list of raw responses of which the
    last one stays."""

    def __init__(self, answers: dict[str, list[bytes]]) -> None:
        self.asked: list[str] = []
        self.headers: list[str] = []
        self.answers = {f"/{path}": list(raw) for path, raw in answers.items()}
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = sock.recv(4096)
                if not piece:
                    return
                request += piece
            target = request.split()[1].decode()
            with self._changed:
                self.asked.append(target)
                self.headers.append(request.decode())
                answers = self.answers.get(target.partition("?")[0], [response({"message": "NOT_FOUND"}, 404)])
                answer = answers[0] if len(answers) == 1 else answers.pop(0)
                self._changed.notify_all()
            if answer == b"":  # hangs
                self._stop.wait(PATIENCE)
            sock.sendall(answer)

    def wait(self, requests: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= requests, PATIENCE)

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


def response(answer: object, status: int = 200, chunked: bool = False) -> bytes:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    if not chunked:
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:], b""))
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (status, pieces)


def producers(*daemons: Daemon) -> dict[str, Any]:
    return {"producers": [{"broadcast_address": "127.0.0.1", "tcp_port": d.port} for d in daemons]}


class Case(publishing.Case):
    """A test after which no thread, socket or warning is left."""

    def setUp(self) -> None:
        super().setUp()
        log = logging.getLogger("millrace")
        self.addCleanup(log.setLevel, log.level)
        log.setLevel(logging.INFO)

    def daemon(self, *bodies: bytes, **more: Any) -> Daemon:  # type: ignore[override]
        daemon = Daemon(*bodies, **more)
        self.addCleanup(daemon.close)
        return daemon

    def lookupd(self, **answers: list[bytes]) -> Lookupd:
        lookupd = Lookupd(answers)
        self.addCleanup(lookupd.close)
        return lookupd

    @contextlib.contextmanager
    def thread(self, f: Callable[[], object]) -> Iterator[threading.Thread]:
        """f in a thread, which has ended afterwards; what it raises is raised."""
        raised: list[BaseException] = []

        def run() -> None:
            try:
                f()
            except BaseException as e:
                raised.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive(), "it does not end")
        if raised:
            raise raised[0]
