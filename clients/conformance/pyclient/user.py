"""What the users of both forms of a Reader do alike."""

from __future__ import annotations

import asyncio
import queue

import millrace
from wire import Request, delay, out, settings


class HandlerFailed(Exception):
    pass


class Held:
    """A message that the user has, and how the handler that waits is told to end."""

    def __init__(self, message: millrace.Message, waits: bool) -> None:
        self.message = message
        self.waits = waits
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.told: asyncio.Future[str] | None = None


class ReaderUser:
    """What both forms' users of a Reader do alike."""

    def __init__(self, request: Request) -> None:
        self.name = request["client"]
        self.kept: dict[str, Held] = {}
        self.settings = settings(request)
        self.how = self.settings.pop("handler", "finish")
        self.style = self.settings.pop("style", "handler")
        self.hears_given_up = self.settings.pop("on_give_up", False)

    def receive(self, message: millrace.Message) -> Held:
        held = self.kept[message.id] = Held(message, self.how == "wait" and self.style != "pull")
        out.receives(self.name, message)
        return held

    def end(self, how: str) -> object:
        """Ends a handler."""
        if how == "fail":
            raise HandlerFailed("the handler has failed, as the scenario wants it")
        if how == "panic":
            raise RecursionError("the handler panics, as the scenario wants it")
        return millrace.ANSWER_LATER if how == "keep" else None

    def answer(self, request: Request) -> None:
        held, how = self.kept[request["message"]], request["how"]
        if how == "touch":
            held.message.touch()
        elif held.waits and how != "requeue":
            held.waits = False
            if held.told is None:
                held.answers.put(how)
            else:
                held.told.set_result(how)
        elif how == "finish":
            held.message.finish()
        elif how == "fail":
            held.message.requeue()
        elif how == "requeue":
            held.message.requeue(delay(request))
        else:
            raise ValueError(f"{how} is not possible any more")

    def pulled(self, message: millrace.Message) -> None:
        self.receive(message)
        if self.how == "finish":
            message.finish()
        elif self.how == "fail":
            message.requeue()
