"""Drives AsyncReader and AsyncWriter."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from typing import Any

import millrace
from user import Held, ReaderUser
from wire import REST_TIME, Request, calls, do_trace, out, settings, sockets, timeout


class AsyncReader(ReaderUser):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        given: dict[str, Any] = {"handler": {"handler": self.handle}, "batch": {"batch_handler": self.handle_batch}}.get(self.style, {})
        if self.hears_given_up:
            given["on_give_up"] = self.give_up
        self.reader = millrace.AsyncReader(**self.settings, **given)
        self.running = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        try:
            if self.style != "pull":
                await self.reader.run()
                return
            async for message in self.reader:
                self.pulled(message)
        except Exception:
            out.tell(client=self.name, result="error", text=traceback.format_exc())

    async def give_up(self, message: millrace.Message) -> None:
        out.receives(self.name, message, True)

    async def handle(self, message: millrace.Message) -> object:
        return self.end(await self.wait(self.receive(message)))

    async def handle_batch(self, batch: list[millrace.Message]) -> object:
        """Ends as its first message is told to."""
        held = [self.receive(m) for m in batch]
        return self.end(await self.wait(held[0]))

    def receive(self, message: millrace.Message) -> Held:
        held = super().receive(message)
        held.told = asyncio.get_running_loop().create_future()
        return held

    async def wait(self, held: Held) -> str:
        if self.how != "wait" or held.told is None:
            return str(self.how)
        return await held.told

    async def do(self, request: Request) -> None:
        what = request["do"]
        if what == "pause":
            self.reader.pause()
        elif what == "resume":
            self.reader.resume()
        elif what == "answer":
            self.answer(request)
        elif what == "seek":
            await self.reader.seek(request["place"])
        else:
            await self.reader.close()
            await self.running


class AsyncWriter:
    def __init__(self, request: Request) -> None:
        self.writer = millrace.AsyncWriter(**settings(request))
        self.asyncs: asyncio.Queue[Request | None] = asyncio.Queue()
        self.publishing = asyncio.ensure_future(self.publish_asyncs())

    async def publish_asyncs(self) -> None:
        """Publishes what must be accepted in its order."""
        while (request := await self.asyncs.get()) is not None:
            await self.publish_async(request)

    async def do(self, request: Request) -> None:
        if request["do"] == "flush":
            await self.writer.flush(timeout(request))
        else:
            await self.writer.close()

    async def publish(self, request: Request) -> None:
        for id, method, arguments in calls(request):
            error = None
            try:
                await getattr(self.writer, method)(*arguments, timeout=timeout(request))
            except Exception as e:
                error = e
            out.ended(id, error, "stored")

    async def publish_async(self, request: Request) -> None:
        for id, method, arguments in calls(request):

            def done(error: BaseException | None, id: int = id) -> None:
                out.ended(id, error, "stored")

            try:
                await getattr(self.writer, method + "_async")(*arguments, done)
                out.ended(id, None, "accepted")
            except Exception as e:
                out.ended(id, e)


class AsyncServer:
    def __init__(self) -> None:
        self.clients: dict[str, AsyncReader | AsyncWriter] = {}
        self.doing: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        lines = asyncio.StreamReader(limit=1 << 28)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        idle = (len(asyncio.all_tasks()), threading.active_count(), sockets())
        while line := await lines.readline():
            request = json.loads(line)
            if request["do"] == "rest":
                for client in self.clients.values():
                    if isinstance(client, AsyncWriter):
                        client.asyncs.put_nowait(None)
                self.clients.clear()
                out.ended(request["id"], await self.rest(idle))
            elif request["do"] in ("wrap", "unwrap"):
                do_trace(request)
            elif request["do"] in ("writer", "reader"):
                await self.open(request)
            else:
                self.begin(request)

    async def open(self, request: Request) -> None:
        error = None
        try:
            if request["do"] == "writer":
                client = self.clients[request["client"]] = AsyncWriter(request)
                await client.writer.__aenter__()
            else:
                self.clients[request["client"]] = AsyncReader(request)
        except Exception as e:
            error = e
        out.ended(request["id"], error)

    def begin(self, request: Request) -> None:
        client = self.clients[request["client"]]
        if isinstance(client, AsyncWriter) and request.get("async"):
            client.asyncs.put_nowait(request)
            return
        if isinstance(client, AsyncWriter) and request["do"] == "publish":
            task = asyncio.ensure_future(client.publish(request))
        else:
            task = asyncio.ensure_future(self.do(client, request))
        self.doing.add(task)
        task.add_done_callback(self.doing.discard)

    async def do(self, client: AsyncReader | AsyncWriter, request: Request) -> None:
        error = None
        try:
            await client.do(request)
        except Exception as e:
            error = e
        out.ended(request["id"], error)

    async def rest(self, idle: tuple[int, int, int]) -> BaseException | None:
        """Waits until nothing is left over."""
        began = time.monotonic()
        while time.monotonic() - began < REST_TIME:
            if len(asyncio.all_tasks()) <= idle[0] and threading.active_count() <= idle[1] and sockets() <= idle[2]:
                return None
            await asyncio.sleep(0.001)
        return RuntimeError(
            f"tasks {asyncio.all_tasks()}, threads {threading.enumerate()} and {sockets() - idle[2]} sockets are left over"
        )
