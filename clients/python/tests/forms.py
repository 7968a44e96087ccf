"""The forms of a Reader, driven alike."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import millrace

from .publishing import PATIENCE


class Threaded:
    """millrace.Reader."""

    def __init__(self, **settings: Any) -> None:
        self.reader = millrace.Reader("t", "c", **settings)
        self.raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._pull: Callable[[millrace.Message], object] | None = None

    def start(self, pull: Callable[[millrace.Message], object] | None = None) -> None:
        """Run; or pull, and call it with each message."""
        self._pull = pull
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._pull is None:
                self.reader.run()
                return
            for message in self.reader:
                self._pull(message)
        except BaseException as e:
            self.raised = e

    def call(self, name: str, *args: Any) -> Any:
        return getattr(self.reader, name)(*args)

    def close(self) -> None:
        self.call("close")
        self._join()

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive(), "it does not end"
        if self.raised:
            raise self.raised


class OnLoop(Threaded):
    """millrace.AsyncReader, whose loop has a thread. Handlers that block run in others."""

    def __init__(self, **settings: Any) -> None:
        for name in ("handler", "batch_handler", "on_give_up"):
            if settings.get(name) is not None:
                settings[name] = functools.partial(asyncio.to_thread, settings[name])
        super().__init__(addresses=["127.0.0.1:1"])
        self._calls: set[Any] = set()
        self.reader: Any = millrace.AsyncReader("t", "c", **settings)
        self._begun = threading.Event()

    def start(self, pull: Callable[[millrace.Message], object] | None = None) -> None:
        super().start(pull)
        assert self._begun.wait(PATIENCE)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as e:
            self.raised = e

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._loop.call_soon(self._begun.set)
        if self._pull is None:
            await self.reader.run()
        else:
            async for message in self.reader:
                await asyncio.to_thread(self._pull, message)
        await self._over.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()} - self._calls
        assert not left, f"tasks are left: {left}"

    def call(self, name: str, *args: Any) -> Any:
        if not self._thread.is_alive():
            return asyncio.run(self._do(name, args))
        return asyncio.run_coroutine_threadsafe(self._do(name, args), self._loop).result(PATIENCE)

    async def _do(self, name: str, args: tuple[Any, ...]) -> Any:
        task = asyncio.current_task()
        self._calls.add(task)
        try:
            result = getattr(self.reader, name)(*args)
            return await result if asyncio.iscoroutine(result) else result
        finally:
            self._calls.discard(task)

    def close(self) -> None:
        if self._thread.is_alive():
            self.call("close")
            self._loop.call_soon_threadsafe(self._over.set)
        self._join()
