"""What a program without an event loop needs of one: a private loop in a thread
of its own; and what asyncio does not do as it is needed here."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import queue
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float | None, work: Awaitable[T]) -> T:
    """Awaits work for so long at most; then cancels it, waits for its end and
    raises asyncio.TimeoutError. (asyncio.wait_for, before 3.12, may forget that it
    was cancelled itself.)"""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # has been looked at, also if we were cancelled


Address = tuple[Any, ...]  #: as socket.getaddrinfo has it


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of host. A name is looked up in
    a thread of its own, which nobody waits for: asyncio's would hold up the
    program's end for as long as the name server is silent."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    except UnicodeError:  # which a lookupd may have listed
        raise OSError(f"{host!r} is no host's name") from None
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[Address]] = loop.create_future()

    def tell(answer: Sequence[Address] | OSError) -> None:
        if found.cancelled():
            return
        if isinstance(answer, OSError):
            found.set_exception(answer)
        else:
            found.set_result(answer)

    def look_up() -> None:
        answer: Sequence[Address] | OSError
        try:
            answer = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as e:
            answer = e
        try:
            loop.call_soon_threadsafe(tell, answer)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    try:
        threading.Thread(target=look_up, name=f"millrace resolving {host}", daemon=True).start()
    except RuntimeError as e:
        raise OSError(f"{host} cannot be looked up: {e}") from e
    return await found


async def dial(addresses: Sequence[Address], timeout: float) -> socket.socket:
    """A socket that is connected to the first of addresses that can be had within
    timeout seconds. Raises OSError."""
    last: OSError | None = None
    for at, (family, kind, proto, _, where) in enumerate(addresses):
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            # One that is not there must not use up the time of the others.
            await within(timeout / (len(addresses) - at), asyncio.get_running_loop().sock_connect(sock, where))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as e:
            sock.close()
            if not isinstance(e, (OSError, asyncio.TimeoutError)):
                raise
            last = e if isinstance(e, OSError) else OSError("no answer")
    raise last or OSError("the name has no address")


class LoopThread:
    """An event loop that runs in a thread of its own, from the first use to stop().

    last is run on the loop when the program ends, or when stop() was forgotten and
    nobody has the owner any more; it must not refer to the owner.
    """

    # The thread is a daemon, which the interpreter does not wait for: it is ended
    # by atexit, when the program's other threads have come to their end. As it is
    # no daemon's turn before, they can go on using it for so long.

    def __init__(self, name: str, last: Callable[[], Coroutine[Any, Any, object]], timeout: float) -> None:
        self._name = name
        self._last = last
        self._timeout = timeout
        self._lock = threading.Lock()  # guards the thread's beginning and end
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.forked = False
        self.loop: asyncio.AbstractEventLoop | None = None  #: set once it runs

    def start(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs. Raises RuntimeError after stop(), and in a process
        that was forked from the one that started it."""
        self.check_fork()
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"{self._name} is closed")
            if self.loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
                self._thread.start()
                self.loop = loop
                _running.add(self)
            return self.loop

    def bind(self) -> None:
        """Binds it to this process, although it is not in use: what belongs to it is open."""
        _running.add(self)

    def check_fork(self) -> None:
        if self.forked:
            raise RuntimeError(
                f"this {self._name} was in use when process {os.getppid()} forked, and its thread stayed there: "
                "make a new one in each process, after the fork"
            )

    def check_caller(self) -> None:
        """Raises RuntimeError on the thread itself, where waiting would be for ever."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"{self._name}: this would wait for itself, being called by its own thread")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work on the loop and waits for it. If the waiting is interrupted, work
        is cancelled."""
        try:
            loop = self.start()
            self.check_caller()
        except RuntimeError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(f"{self._name} was closed meanwhile") from None
        finally:
            future.cancel()

    def call(self, what: Callable[..., object], *args: Any) -> None:
        """Has what called on the loop, soon; nothing happens if that has ended."""
        if self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(what, *args)
            except RuntimeError:
                pass

    def stop(self) -> None:
        """Ends the loop, with what still runs on it, and waits for the thread's end."""
        with self._lock:
            first, self._stopped = not self._stopped, True
            loop, thread = self.loop, self._thread
        if loop is None or thread is None or self.forked:
            _running.discard(self)
            return
        if first:  # a second time would stop what _run has to do afterwards
            _end(loop)
        if thread is not threading.current_thread():
            thread.join()
        _running.discard(self)

    def abandon(self) -> None:
        """What a finalizer calls, in whatever thread: runs last, then ends the loop.
        It waits for nothing; atexit does."""
        if self.loop is None or self.forked or not self._thread or not self._thread.is_alive():
            return
        loop = self.loop

        def begin() -> None:
            task = loop.create_task(self._last())
            task.add_done_callback(lambda _: loop.stop())

        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:
            pass  # it has ended


class Worker:
    """A thread that does, one after the other, what may block. It begins with the
    first thing to do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._inline = False

    def do(self, work: Callable[[], object]) -> None:
        """Has work done. Called by one thread only; work must not raise."""
        if self._inline:
            work()
            return
        self._work.put(work)
        if self._thread is None:
            self._start()

    async def run(self, work: Callable[[], T]) -> T:
        """Has work done and returns what it returned, or raises what it raised."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def tell() -> None:
            try:
                future.set_result(work())
            except BaseException as e:  # the thread goes on
                future.set_exception(e)

        self.do(tell)
        # Work that was begun comes to its end, whoever is cancelled.
        return await asyncio.shield(asyncio.wrap_future(future))

    @property
    def current(self) -> bool:
        """Whether this is the worker's thread."""
        return threading.current_thread() is self._thread

    def end(self) -> None:
        """Has the thread end when everything is done."""
        self._work.put(None)

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end, which was asked for. Returns whether it has come."""
        if self._thread is None or self.current:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the program ends, and no thread begins any more
            self._thread, self._inline = None, True
            self._work.put(None)
            self._run()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.call_soon_threadsafe(loop.stop)
    except RuntimeError:
        pass  # it has ended


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        # Transports close their sockets in a later turn.
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _at_exit() -> None:
    ending = list(_running)
    for thread in ending:
        thread.abandon()
    for thread in ending:
        if thread._thread is not None:
            thread._thread.join(thread._timeout)


def _after_fork() -> None:
    for thread in list(_running):
        thread.forked = True
    _running.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
