"""Writers and Readers of package millrace for the tests beside this file, which say what to do.

A request is a JSON object on a line of standard input: {"id": 1, "op": "publish", ...}. Its answer is one on standard
output, {"id": 1, "error": null}, and so is what happens in between: {"message": {...}} and {"done": [id, index, error]}.
Each request has a thread of its own, so that as many may wait as the test likes. With --asyncio, AsyncWriter and
AsyncReader are used instead of Writer and Reader.
"""

import asyncio
import base64
import gc
import importlib.util
import json
import logging
import os
import ssl
import sys
import threading
import time

import millrace


class OnceMore(Exception):
    """What a handler fails with when it is to."""


def worth_saying(record):
    """Whether the test wants to read what is logged: not what it has asked for."""
    return not (record.exc_info and record.exc_info[0] is OnceMore)


def described(error):
    """What the test is told of an error; None if there is none."""
    if error is None:
        return None
    kinds = [
        (millrace.RefusedError, "refused"),
        (millrace.UnavailableError, "unavailable"),
        (millrace.UncertainError, "uncertain"),
    ]
    kind = next((name for of, name in kinds if isinstance(error, of)), "strange")
    return {"kind": kind, "text": f"{type(error).__name__}: {error}"}


def security(ca=None, compression=None, **_):
    settings = {"dial_timeout": 2.0, "write_timeout": 2.0}
    if ca:
        settings["tls"] = ssl.create_default_context(cafile=ca)
    if compression:
        settings["compression"] = compression
    return settings


def chosen(request, *names):
    return {name: request[name] for name in names if name in request}


class Agent:
    def __init__(self, use_asyncio):
        self.asyncio = use_asyncio
        self.output = threading.Lock()
        self.things = {}  # Writers and Readers by the test's number
        self.kept = {}  # messages that were not answered, by their number
        self.numbers = 0
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def serve(self):
        for line in sys.stdin:
            request = json.loads(line)
            if request["op"] == "census":
                self.do(request)  # it must not count itself
            else:
                threading.Thread(target=self.do, args=(request,), daemon=True).start()

    def say(self, **what):
        text = json.dumps(what) + "\n"
        with self.output:
            sys.stdout.write(text)
            sys.stdout.flush()

    def do(self, request):
        error, result = None, None
        try:
            result = getattr(self, "do_" + request["op"])(request)
        except Exception as e:  # the test judges all of them
            error = e
        if "id" in request:
            self.say(id=request["id"], error=described(error), result=result)

    def wait(self, awaitable):
        """Runs a coroutine on the loop, and waits for it; what is none is returned."""
        if not asyncio.iscoroutine(awaitable):
            return awaitable
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result()

    def made(self, make):
        """What make returns, which is called on the loop if it is asyncio's."""
        if not self.asyncio:
            return make()

        async def on_loop():
            return make()

        return self.wait(on_loop())

    # Writers

    def do_writer(self, request):
        kind = millrace.AsyncWriter if self.asyncio else millrace.Writer
        settings = security(**request) | chosen(
            request, "addresses", "lookupds", "max_in_flight", "retry_uncertain", "spool", "spool_after", "lookup_interval"
        )
        self.things[request["number"]] = self.made(lambda: kind(**settings))

    def do_publish(self, request):
        writer, bodies = self.things[request["number"]], [base64.b64decode(b) for b in request["bodies"]]
        topic, timeout = request["topic"], request["timeout"]
        if "delay" in request:
            self.wait(writer.publish_deferred(topic, request["delay"], bodies[0], timeout=timeout))
        elif len(bodies) == 1:
            self.wait(writer.publish(topic, bodies[0], timeout=timeout))
        else:
            self.wait(writer.publish_many(topic, bodies, timeout=timeout))

    def do_publish_async(self, request):
        writer, bodies = self.things[request["number"]], [base64.b64decode(b) for b in request["bodies"]]

        def done(i):
            return lambda error: self.say(done=[request["id"], i, described(error)])

        def publish(i, method, what):
            try:
                self.wait(method(request["topic"], what, done(i)))
            except Exception as error:  # the test judges all of them
                done(i)(error)

        if request["many"]:
            publish(0, writer.publish_many_async, bodies)
            return
        for i, body in enumerate(bodies):
            publish(i, writer.publish_async, body)

    def do_flush(self, request):
        self.wait(self.things[request["number"]].flush(timeout=request["timeout"]))

    def do_close(self, request):
        self.wait(self.things.pop(request["number"]).close())

    # Readers

    def do_reader(self, request):
        Consumer(self, request)

    def do_answer(self, request):
        self.kept[request["message"]](request)

    def do_snappy(self, _):
        return any(importlib.util.find_spec(name) for name in ("snappy", "cramjam"))

    def do_census(self, _):
        gc.collect()
        return len(gc.get_objects())


class Consumer:
    """A Reader that is run, and what its handler does."""

    def __init__(self, agent, request):
        self.agent, self.request, self.number = agent, request, request["number"]
        settings = security(**request) | chosen(
            request, "addresses", "lookupds", "max_in_flight", "concurrency", "msg_timeout", "lookup_interval", "requeue_delay"
        )
        kind = millrace.AsyncReader if agent.asyncio else millrace.Reader
        if request["form"] == "handler":
            settings["handler"] = self.handle_async if agent.asyncio else self.handle
        elif request["form"] == "batch":
            settings["batch_handler"] = self.handle_batch_async if agent.asyncio else self.handle_batch
        self.reader = agent.made(lambda: kind(request["topic"], request["channel"], **settings))
        agent.things[self.number] = self
        if agent.asyncio:
            self.future = asyncio.run_coroutine_threadsafe(self.run_async(), agent.loop)
        else:
            self.failure = None
            self.thread = threading.Thread(target=self.run)
            self.thread.start()

    def run(self):
        try:
            if self.request["form"] != "pull":
                self.reader.run()
                return
            for message in self.reader:
                if not (outcome := self.take([message]))["kept"]:
                    message.requeue() if outcome["failed"] else message.finish()
        except Exception as e:
            self.failure = e

    async def run_async(self):
        if self.request["form"] != "pull":
            await self.reader.run()
            return
        async for message in self.reader:
            if not (outcome := self.take([message]))["kept"]:
                message.requeue() if outcome["failed"] else message.finish()

    def close(self):
        if self.agent.asyncio:
            self.agent.wait(self.reader.close())
            self.future.result()
            return
        self.reader.close()
        self.thread.join()
        if self.failure is not None:
            raise self.failure

    def take(self, messages, answered=None):
        """Tells the test of messages. Returns whether the first of them fails, and whether all are kept."""
        now = time.time_ns()
        every, told = self.request.get("fail_every", 0), []
        for m in messages:
            failed = every > 0 and m.attempts == 1 and sum(m.body) % every == 0
            self.agent.numbers += 1
            name = f"{self.number}.{self.agent.numbers}.{id(m)}"
            if self.request.get("answer"):
                self.agent.kept[name] = lambda said, m=m, name=name: self.answer(m, name, said, answered)
            told.append({
                "name": name, "body": base64.b64encode(m.body).decode(), "address": m.address, "attempts": m.attempts,
                "id": m.id.decode() if isinstance(m.id, bytes) else str(m.id), "failed": failed, "stamp": m.timestamp, "taken": now,
            })
        self.agent.say(messages=told, number=self.number)
        return {"failed": told[0]["failed"], "kept": self.request.get("answer") == "later", "each": told}

    def answer(self, message, name, said, answered):
        """Does what the test says with a message that was kept, or whose handler waits."""
        def answer():
            if said["how"] == "touch":
                message.touch()
                return
            self.agent.kept.pop(name, None)
            message.finish() if said["how"] == "finish" else message.requeue(said["delay"])
            if answered is not None:
                answered()

        if self.agent.asyncio:
            self.agent.loop.call_soon_threadsafe(answer)
        else:
            answer()

    def handle(self, message):
        if "work" in self.request:
            time.sleep(self.request["work"])
        answered = threading.Event()
        outcome = self.take([message], answered.set)
        if outcome["failed"]:
            raise OnceMore
        if outcome["kept"]:
            return millrace.ANSWER_LATER
        if self.request.get("answer") == "wait":
            answered.wait()

    async def handle_async(self, message):
        if "work" in self.request:
            await asyncio.sleep(self.request["work"])
        answered = asyncio.Event()
        outcome = self.take([message], answered.set)
        if outcome["failed"]:
            raise OnceMore
        if outcome["kept"]:
            return millrace.ANSWER_LATER
        if self.request.get("answer") == "wait":
            await answered.wait()

    def handle_batch(self, messages):
        outcome = self.take(messages)
        for message, told in zip(messages, outcome["each"]):
            if told["failed"]:
                message.requeue()
        if outcome["kept"]:
            return millrace.ANSWER_LATER

    async def handle_batch_async(self, messages):
        return self.handle_batch(messages)


if __name__ == "__main__":
    log = logging.StreamHandler()
    log.addFilter(worth_saying)
    logging.basicConfig(handlers=[log], format="%(asctime)s %(levelname)s %(message)s")
    try:
        Agent("--asyncio" in sys.argv).serve()
    finally:
        os._exit(0)  # what still runs belongs to a test that is over
