"""Drives Reader and Writer."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import traceback
from typing import Any

import millrace
from user import ReaderUser
from wire import REST_TIME, Request, calls, do_trace, out, settings, sockets, timeout


class SyncReader(ReaderUser):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        given: dict[str, Any] = {"handler": {"handler": self.handle}, "batch": {"batch_handler": self.handle_batch}}.get(self.style, {})
        if self.hears_given_up:
            given["on_give_up"] = lambda message: out.receives(self.name, message, True)
        self.reader = millrace.Reader(**self.settings, **given)
        threading.Thread(target=self.run).start()

    def run(self) -> None:
        try:
            if self.style != "pull":
                self.reader.run()
                return
            for message in self.reader:
                self.pulled(message)
        except Exception:
            out.tell(client=self.name, result="error", text=traceback.format_exc())

    def handle(self, message: millrace.Message) -> object:
        held = self.receive(message)
        return self.end(held.answers.get() if self.how == "wait" else self.how)

    def handle_batch(self, batch: list[millrace.Message]) -> object:
        """Ends as its first message is told to."""
        held = [self.receive(m) for m in batch]
        return self.end(held[0].answers.get() if self.how == "wait" else self.how)

    def do(self, request: Request) -> None:
        do = {
            "pause": self.reader.pause,
            "resume": self.reader.resume,
            "seek": lambda: self.reader.seek(request["place"]),
            "close": self.reader.close,
            "answer": lambda: self.answer(request),
        }[request["do"]]

        def run() -> None:
            error = None
            try:
                do()
            except Exception as e:
                error = e
            out.ended(request["id"], error)

        if request["do"] in ("seek", "close"):
            threading.Thread(target=run).start()
        else:
            run()


class SyncWriter:
    def __init__(self, request: Request) -> None:
        self.writer = millrace.Writer(**settings(request)).__enter__()
        self.let_go = threading.Event()
        self.asyncs: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        threading.Thread(target=self.publish_asyncs).start()

    def publish_asyncs(self) -> None:
        """Publishes what must be accepted in its order."""
        while (request := self.asyncs.get()) is not None:
            self.publish_async(request)

    def do(self, request: Request) -> None:
        if request["do"] == "letgo":
            self.let_go.set()
            out.ended(request["id"], None)
        elif request.get("async"):
            self.asyncs.put(request)
        else:
            do = {"publish": self.publish, "flush": self.flush, "close": self.close}[request["do"]]
            threading.Thread(target=do, args=(request,)).start()

    def flush(self, request: Request) -> None:
        error = None
        try:
            self.writer.flush(timeout(request))
        except Exception as e:
            error = e
        out.ended(request["id"], error)

    def close(self, request: Request) -> None:
        error = None
        try:
            self.writer.close()
        except Exception as e:
            error = e
        out.ended(request["id"], error)

    def publish(self, request: Request) -> None:
        for id, method, arguments in calls(request):
            error = None
            try:
                getattr(self.writer, method)(*arguments, timeout=timeout(request))
            except Exception as e:
                error = e
            out.ended(id, error, "stored")

    def publish_async(self, request: Request) -> None:
        for id, method, arguments in calls(request):

            def done(error: BaseException | None, id: int = id) -> None:
                out.ended(id, error, "stored")
                if request.get("blocking"):
                    self.let_go.wait()

            try:
                getattr(self.writer, method + "_async")(*arguments, done)
                out.ended(id, None, "accepted")
            except Exception as e:
                out.ended(id, e)


def serve_sync() -> None:
    idle = (threading.active_count(), sockets())
    clients: dict[str, SyncReader | SyncWriter] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "rest":
            for client in clients.values():
                if isinstance(client, SyncWriter):
                    client.asyncs.put(None)
            clients.clear()
            out.ended(request["id"], rest(idle))
        elif request["do"] in ("wrap", "unwrap"):
            do_trace(request)
        elif request["do"] in ("writer", "reader"):
            error = None
            try:
                clients[request["client"]] = (SyncWriter if request["do"] == "writer" else SyncReader)(request)
            except Exception as e:
                error = e
            out.ended(request["id"], error)
        else:
            clients[request["client"]].do(request)


def rest(idle: tuple[int, int]) -> BaseException | None:
    """Waits until nothing is left over."""
    began = time.monotonic()
    while time.monotonic() - began < REST_TIME:
        if threading.active_count() <= idle[0] and sockets() <= idle[1]:
            return None
        time.sleep(0.001)
    return RuntimeError(f"threads {threading.enumerate()} and {sockets() - idle[1]} sockets are left over")
