"""Asking lookupds."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from millrace import _discovery
from millrace._discovery import Lookups, Producer, parse_lookupd, parse_producers
from millrace._settings import ConnectionSettings

from .consuming import Case, Lookupd, response

A = {"broadcast_address": "a", "tcp_port": 1, "http_port": 2, "topology_region": "r", "topology_zone": "z"}
B = {"broadcast_address": "::1", "tcp_port": 3}
PA, PB = Producer("a:1", "a:2", "r", "z"), Producer("[::1]:3")
EMPTY = response({"producers": []})


def asked(*lookupds: Lookupd, times: int = 1, publishing: bool = False, **settings: Any) -> list[tuple[list[Producer], bool]]:
    async def ask() -> list[tuple[list[Producer], bool]]:
        connection = ConnectionSettings(**{"dial_timeout": 10, **settings})
        names = [l.address for l in lookupds]
        lookups = Lookups.for_publishing(names, connection) if publishing else Lookups.of_topic(names, "t#ephemeral", connection)
        return [await lookups.ask() for _ in range(times)]

    return asyncio.run(ask())


class Answers(Case):
    def test_listed(self) -> None:
        for status, body, want in (
            (200, b'{"producers":null}', []),
            (200, b'{"channels":["c"]}', []),
            (404, b'{"message":"TOPIC_NOT_FOUND"}', []),
            (200, b'{"producers":[{"broadcast_address":"b","tcp_port":1},7,{}]}', [Producer("b:1")]),
            (200, b'{"producers":[{"broadcast_address":"b","tcp_port":true},{"broadcast_address":"b","tcp_port":65536}]}', []),
            (200, b'{"producers":[{"broadcast_address":"b\\nc","tcp_port":1},{"broadcast_address":7,"tcp_port":1}]}', []),
        ):
            with self.subTest(body):
                self.assertEqual(parse_producers(status, body), (want, ""))

    def test_garbage(self) -> None:
        for status, body in (
            (200, b""), (200, b"OK"), (200, b"[]"), (200, b"\xff"), (200, b"[" * 100_000), (200, b'{"producers":{}}'),
            (200, b'{"producers":7}'), (404, b'{"message":"NOT_FOUND"}'), (404, b"[]"), (500, b'{"producers":[]}'),
        ):
            with self.subTest(body[:30]), self.assertRaises(_discovery.BadAnswer):
                parse_producers(status, body)

    def test_addresses(self) -> None:
        for good in ("h:1", "http://h", "https://u:p@h:2/x/", "[::1]:5", "[fe80::1%lo]:1"):
            parse_lookupd(good)
        for bad in ("", "h", "h:x", "h:99999", "ftp://h:1", "http://", "a b:1", "h:1\r\nX:", ":1"):
            with self.subTest(bad), self.assertRaisesRegex(ValueError, "must be host:port"):
                parse_lookupd(bad)


class Asking(Case):
    def test_all_are_united(self) -> None:
        first = self.lookupd(lookup=[response({"producers": [A, B]}), response({"producers": [B, A]}), EMPTY])
        second = self.lookupd(lookup=[response({"producers": [A]}, chunked=True), EMPTY, EMPTY])
        self.assertEqual(asked(first, second, times=3), [([PB, PA], True), ([PB, PA], False), ([], True)])
        self.assertEqual(first.asked[0], "/lookup?topic=t%23ephemeral")
        self.assertIn(f"Host: {first.address}\r\nUser-Agent: millrace-python\r\n", first.headers[0])

    def test_one_that_fails_counts_for_what_it_said_last(self) -> None:
        many = b"x" * (_discovery.MAX_ANSWER + 1)
        for what, failure in {
            "garbage": b"\0\1\2",
            "no HTTP": b"SSH-2.0-x\r\n\r\n",
            "silence": b"",
            "an error": response({"message": "INTERNAL"}, 500),
            "too much": b"HTTP/1.1 200 OK\r\n\r\n" + many,
            "too much, as it says": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
            "an early end": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            "chunks that end early": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
            "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
            "too large a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n{}",
            "a header without end": b"HTTP/1.1 200 OK\r\nX: " + many[:100_000],
            "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n{}",
        }.items():
            with self.subTest(what):
                lookupd = self.lookupd(lookup=[response({"producers": [A]}), failure])
                answers = asked(lookupd, times=3, dial_timeout=0.3 if what == "silence" else 10)
                self.assertEqual(answers, [([PA], True), ([PA], False), ([PA], False)])
                self.assertEqual(len(self.log.having(f"{lookupd.address} failed")), 1)

    def test_nobody_there(self) -> None:
        lookupd = self.lookupd()
        lookupd.close()
        self.assertEqual(asked(lookupd, times=2), [([], False), ([], False)])
        self.assertEqual(len(self.log.having("failed, its last answer stays")), 1)

    def test_one_that_hangs_holds_up_nobody(self) -> None:
        hangs, answers = self.lookupd(lookup=[b""]), self.lookupd(lookup=[response({"producers": [A]})])

        async def first() -> list[Producer]:
            settings = ConnectionSettings(dial_timeout=60, logger=logging.getLogger("millrace"))
            lookups = Lookups.of_topic([hangs.address, answers.address], "t", settings)
            heard: asyncio.Future[list[Producer]] = asyncio.get_running_loop().create_future()
            asking = asyncio.ensure_future(lookups.ask(heard.set_result))
            found = await heard
            asking.cancel()
            await asyncio.wait({asking})
            return found

        self.assertEqual(asyncio.run(first()), [PA])


class AskingToPublish(Case):
    def test_pages(self) -> None:
        pages = [response({"producers": [A], "next": "7"}), response({"producers": [B]})]
        lookupd = self.lookupd(**{"producers/available": pages})
        self.assertEqual(asked(lookupd, publishing=True), [([PB, PA], True)])
        self.assertEqual(lookupd.asked, ["/producers/available?limit=1000", "/producers/available?limit=1000&after=7"])

    def test_a_page_that_repeats_itself(self) -> None:
        lookupd = self.lookupd(**{"producers/available": [response({"producers": [A], "next": "7"})]})
        self.assertEqual(asked(lookupd, publishing=True), [([PA], True)])

    def test_nsqlookupd(self) -> None:
        draining = {**A, "broadcast_address": "d", "state": "draining"}
        lookupd = self.lookupd(nodes=[response({"producers": [A, draining]})])
        self.assertEqual(asked(lookupd, publishing=True), [([PA], True)])


class Cancelled(Case):
    def test_at_any_moment(self) -> None:
        lookupd = self.lookupd(lookup=[EMPTY])

        async def cancel_after(turns: int) -> None:
            lookups = Lookups.of_topic([lookupd.address], "t", ConnectionSettings())
            asking = asyncio.ensure_future(lookups.ask())
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})

        for turns in range(60):
            asyncio.run(cancel_after(turns))
