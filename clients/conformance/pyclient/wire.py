"""What the runner asks for and is told. goclient/wire.go says what the lines hold."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import ssl
import sys
import threading
import traceback
from typing import Any

import millrace
from millrace import trace

Request = dict[str, Any]

#: How long a thread or a task may take to end after what it did was seen, in seconds.
REST_TIME = 5.0

DURATION = re.compile(r"-?[0-9.]+(?:ms|s|m)")


def seconds(text: str) -> float:
    unit = {"ms": 0.001, "s": 1, "m": 60}
    number = text.rstrip("ms")
    return float(number) * unit[text[len(number) :]]


def timeout(request: Request) -> float | None:
    return request.get("timeout", 0) / 1000 or None


def delay(request: Request) -> float:
    return float(request.get("delay", 0)) / 1000


def bodies(request: Request) -> list[bytes]:
    return [base64.b64decode(b["of"]) * b["times"] for b in request.get("bodies", [])]


def packed(body: bytes) -> dict[str, Any]:
    times = 1
    if len(body) > 1000 and body.count(body[:1]) == len(body):
        body, times = body[:1], len(body)
    return {"of": base64.b64encode(body).decode(), "times": times}


def calls(request: Request) -> list[tuple[int, str, tuple[Any, ...]]]:
    """The calls that a request to publish stands for: the number of what came of
    it, the method and its arguments."""
    id, topic = request["id"], request.get("topic", "")
    if request["form"] == "many":
        return [(id, "publish_many", (topic, bodies(request)))]
    if request["form"] == "deferred":
        return [(id, "publish_deferred", (topic, delay(request), bodies(request)[0]))]
    return [(id + i, "publish", (topic, body)) for i, body in enumerate(bodies(request))]


def settings(request: Request) -> dict[str, Any]:
    """The keyword arguments that a request's settings stand for."""
    return {key: setting(key, value) for key, value in request.get("settings", {}).items()}


def setting(key: str, value: str) -> Any:
    if key in ("addresses", "lookupds"):
        return value.split(",")
    if key == "tls":
        return unverified() if value == "unverified" else True
    if key in ("topic", "channel", "auth_secret", "zone", "region", "client_id", "hostname", "user_agent", "spool"):
        return value
    if DURATION.fullmatch(value):
        return seconds(value)
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.lstrip("-").isdecimal() else value


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def kind(error: BaseException | None, well: str = "ok") -> dict[str, str]:
    """How a request ended, as the runner is told it."""
    kinds = {
        millrace.RefusedError: "refused",
        millrace.UnavailableError: "unavailable",
        millrace.UncertainError: "uncertain",
        millrace.ClosedError: "closed",
    }
    if error is None:
        return {"result": well}
    result = next((name for of, name in kinds.items() if isinstance(error, of)), "error")
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    if error.__cause__ is not None:
        text += f" ({error.__cause__})"
    return {"result": result, "text": text}


class Out:
    """Where the runner is told things, by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, **event: Any) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    def ended(self, id: int, error: BaseException | None, well: str = "ok") -> None:
        self.tell(id=id, **kind(error, well))

    def receives(self, client: str, message: millrace.Message, given_up: bool = False) -> None:
        self.tell(client=client, message=message.id, body=packed(bytes(message.body)), attempts=message.attempts, given_up=given_up)


out = Out()


def do_trace(request: Request) -> None:
    try:
        body = bodies(request)[0]
        parent, state = request.get("traceparent", ""), request.get("tracestate", "")
        if request["do"] == "wrap":
            result, parent, state = trace.wrap(body, parent, state), "", ""
        else:
            result, parent, state = trace.unwrap(body)
    except Exception as e:
        out.ended(request["id"], e)
        return
    out.tell(id=request["id"], result="ok", body=packed(bytes(result)), traceparent=parent, tracestate=state)


def sockets() -> int:
    """How many are open, where the system shows them."""
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count
