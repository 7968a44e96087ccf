"""Asking lookup daemons (lookupd, nsqlookupd) where a topic is, or who takes publishes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import io
import json
import logging
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from ._loop import dial, resolve, within
from ._settings import USER_AGENT, ConnectionSettings

# MAX_ANSWER bounds a lookupd's answer, in bytes: ten thousand daemons are about
# three megabytes.
MAX_ANSWER = 16 << 20


# A Writer asks for daemons in pages of _PAGE, and for at most _PAGES of them.
_PAGE = 1000
_PAGES = 100


@dataclass(frozen=True)
class Producer:
    """A daemon that a lookupd lists."""

    address: str  # of its TCP side, as host:port
    http_address: str = ""
    region: str = ""
    zone: str = ""


class BadAnswer(Exception):
    """A lookupd answered something that is no list of daemons."""


@dataclass(frozen=True)
class _URL:
    """A lookupd, taken apart."""

    secure: bool
    host: str
    port: int
    host_header: str  # the authority without credentials
    prefix: str  # of all paths; does not end with a slash
    authorization: str  # the header's value, or ""


def parse_lookupd(lookupd: str) -> _URL:
    """Read a lookupd's address, host:port or an HTTP URL. Raises ValueError."""
    bare = "://" not in lookupd
    try:
        # The zone of an IPv6 address has a % before it, in URLs an escaped one.
        parts = urlsplit("http://" + lookupd.replace("%", "%25") if bare else lookupd)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        host, port = "", None
    if not host or (bare and port is None) or parts.scheme not in ("http", "https") or not lookupd.isprintable() or " " in lookupd:
        raise ValueError(f"lookupd {lookupd!r} must be host:port or an HTTP URL")
    secure = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return _URL(
        secure=secure,
        host=host,
        port=port if port is not None else (443 if secure else 80),
        host_header=parts.netloc.rpartition("@")[2],
        prefix=quote(parts.path.rstrip("/"), safe="/%"),
        authorization=authorization,
    )


@dataclass
class _Lookupd:
    """A lookupd and what it said last."""

    name: str
    url: _URL
    answer: list[Producer]
    down: bool = False  # it did not answer the last time


class Lookups:
    """Lookupds, all asked the same question.

    of_topic asks where a topic is, for a Reader; for_publishing asks which daemons
    take publishes, for a Writer. timeout is in seconds, for one answer.
    """

    def __init__(
        self,
        lookupds: Iterable[str],
        topic: str | None,
        *,
        timeout: float,
        user_agent: str,
        secret: str,
        tls: ssl.SSLContext | None,
        logger: logging.Logger,
    ) -> None:
        self._lookupds = [_Lookupd(s, parse_lookupd(s), []) for s in lookupds]
        self._topic = topic  # None asks for publishing
        self._timeout = timeout
        self._user_agent = user_agent
        # What a header cannot carry is no token, but something for an auth server.
        self._secret = secret if secret.isascii() and secret.isprintable() and " " not in secret else ""
        self._tls = tls
        self._log = logger
        self._last: list[Producer] = []

    @classmethod
    def of_topic(cls, lookupds: Iterable[str], topic: str, settings: ConnectionSettings) -> Lookups:
        """Ask for the daemons that have topic."""
        return cls._of(lookupds, topic, settings)

    @classmethod
    def for_publishing(cls, lookupds: Iterable[str], settings: ConnectionSettings) -> Lookups:
        """Ask for the daemons that take publishes; of a lookupd that cannot tell
        (nsqlookupd), for all that it knows."""
        return cls._of(lookupds, None, settings)

    @classmethod
    def _of(cls, lookupds: Iterable[str], topic: str | None, settings: ConnectionSettings) -> Lookups:
        return cls(
            lookupds,
            topic,
            timeout=settings.dial_timeout,
            user_agent=settings.user_agent or USER_AGENT,
            secret=settings.auth_secret,
            tls=settings.tls if isinstance(settings.tls, ssl.SSLContext) else None,
            logger=settings.logger,
        )

    def __len__(self) -> int:
        return len(self._lookupds)

    async def ask(self, partly: Callable[[list[Producer]], None] | None = None) -> tuple[list[Producer], bool]:
        """Ask all lookupds at once; return the daemons that they list, each once,
        and whether that is something new.

        One that fails counts for what it said last; that it fails is logged once.
        partly is called each time that one has answered, with what is known by then:
        one that hangs is to hold up nobody whom another lists. Raises nothing but
        CancelledError.
        """

        async def ask_one(lookupd: _Lookupd) -> None:
            await self._ask_one(lookupd)
            if partly is not None and not lookupd.down:
                partly(self._united())

        await asyncio.gather(*map(ask_one, self._lookupds))
        found = self._united()
        changed, self._last = found != self._last, found
        return list(found), changed

    def _united(self) -> list[Producer]:
        """Return what the lookupds said last, each daemon once, in the order of addresses."""
        found: dict[str, Producer] = {}
        for lookupd in self._lookupds:
            for p in lookupd.answer:
                found.setdefault(p.address, p)
        return sorted(found.values(), key=lambda p: p.address)

    async def _ask_one(self, lookupd: _Lookupd) -> None:
        try:
            if self._topic is not None:
                lookupd.answer = await self._who_has(lookupd.url, self._topic)
            else:
                lookupd.answer = await self._who_takes(lookupd.url)
            lookupd.down = False
        # http.client's errors are what its parser of headers raises.
        except (OSError, EOFError, ValueError, BadAnswer, http.client.HTTPException, asyncio.TimeoutError) as err:
            if not lookupd.down:
                why = f"no answer within {self._timeout:g} s" if isinstance(err, asyncio.TimeoutError) else err
                self._log.warning("lookupd %s failed, its last answer stays: %s", lookupd.name, why)
            lookupd.down = True

    async def _who_has(self, url: _URL, topic: str) -> list[Producer]:
        status, body = await self._within(url, "/lookup?" + urlencode({"topic": topic}))
        return parse_producers(status, body)[0]

    async def _who_takes(self, url: _URL) -> list[Producer]:
        """All of them, though a Writer needs only a few: these are to be any, not
        those that came first."""
        found: list[Producer] = []
        after = ""
        for _ in range(_PAGES):
            status, body = await self._within(url, f"/producers/available?limit={_PAGE}" + after)
            if status == 404:
                status, body = await self._within(url, "/nodes")
                return parse_producers(status, body, for_publishing=True)[0]
            page, following = parse_producers(status, body, for_publishing=True)
            found += page
            last, after = after, "&" + urlencode({"after": following})
            if not following or after == last:
                break
        return found

    async def _within(self, url: _URL, target: str) -> tuple[int, bytes]:
        return await within(self._timeout, self._get(url, target))

    async def _get(self, url: _URL, target: str) -> tuple[int, bytes]:
        reader, writer = await self._connect(url)
        try:
            lines = [
                f"GET {url.prefix}{target} HTTP/1.1",
                f"Host: {url.host_header}",
                f"User-Agent: {self._user_agent}",
                "Accept: application/vnd.nsq; version=1.0",
                # Asked once a minute, a connection kept open is only one more to
                # close.
                "Connection: close",
            ]
            if url.authorization:
                lines.append(f"Authorization: {url.authorization}")
            elif self._secret:
                lines.append(f"Authorization: Bearer {self._secret}")
            writer.write("\r\n".join([*lines, "", ""]).encode())
            return await _read_response(reader)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, url: _URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = (self._tls or ssl.create_default_context()) if url.secure else None
        sock = await dial(await resolve(url.host, url.port), self._timeout)
        # Not in a task of its own: what that returns is lost if we are cancelled then.
        return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=url.host if tls else None)


async def _read_response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an HTTP response whose body is bounded by MAX_ANSWER."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as err:
        raise BadAnswer(f"what answers does not speak HTTP: {err.partial[:40]!r}") from None
    except asyncio.LimitOverrunError:
        raise BadAnswer("what answers does not speak HTTP: no end of a header") from None
    status_line, _, headers = head.partition(b"\r\n")
    words = status_line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
        raise BadAnswer(f"what answers does not speak HTTP: {status_line[:40]!r}")
    fields = http.client.parse_headers(io.BytesIO(headers))
    status = int(words[1])
    if fields.get("Transfer-Encoding", "").lower() == "chunked":
        return status, await _read_chunks(reader)
    length = fields.get("Content-Length")
    if length is None:
        return status, await _read_at_most(reader, MAX_ANSWER)
    if not length.isdecimal() or len(length) > 18:
        raise BadAnswer(f"Content-Length {length[:40]!r} is no length")
    if int(length) > MAX_ANSWER:
        raise BadAnswer(f"the answer has {length} bytes, more than {MAX_ANSWER}")
    try:
        return status, await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise BadAnswer("the answer ends early") from None


async def _read_at_most(reader: asyncio.StreamReader, limit: int) -> bytes:
    """Read up to the stream's end. More than limit bytes are an error."""
    body = bytearray()
    while piece := await reader.read(1 << 16):
        body += piece
        if len(body) > limit:
            raise BadAnswer(f"the answer has more than {MAX_ANSWER} bytes")
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    try:
        while True:
            line = await reader.readuntil(b"\n")
            digits = line.partition(b";")[0].strip()
            if not 1 <= len(digits) <= 8:
                raise BadAnswer(f"the answer has a chunk of length {line[:20]!r}")
            size = int(digits, 16)
            if size == 0:
                return bytes(body)  # what follows is for nobody: the connection closes
            if size < 0 or len(body) + size > MAX_ANSWER:
                raise BadAnswer(f"the answer has more than {MAX_ANSWER} bytes")
            body += await reader.readexactly(size)
            await reader.readexactly(2)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadAnswer("the answer ends early") from None


def parse_producers(status: int, body: bytes, for_publishing: bool = False) -> tuple[list[Producer], str]:
    """Read a lookupd's answer: the daemons listed, and what to ask for the page
    behind it with, "" if there is none. A topic that it does not know is on no
    daemon.

    A daemon that has registered an impossible address is passed over: it must
    not hide the others. Raises BadAnswer.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status == 404 and isinstance(answer, dict) and answer.get("message") == "TOPIC_NOT_FOUND":
        return [], ""
    if status != 200:
        raise BadAnswer(f"status {status}: {body[:100]!r}")
    listed = answer.get("producers") if isinstance(answer, dict) else answer
    if listed is None and answer is not None:
        listed = []  # as Go may write it
    if not isinstance(answer, dict) or not isinstance(listed, list):
        raise BadAnswer(f"the answer lists no producers: {body[:100]!r}")
    following = answer.get("next")
    producers = [p for entry in listed if (p := _producer(entry, for_publishing)) is not None]
    return producers, following if isinstance(following, str) else ""


def _producer(entry: Any, for_publishing: bool) -> Producer | None:
    # A daemon that drains or fails takes no publishes; only who asks /nodes for
    # want of something better hears of it.
    if not isinstance(entry, dict) or for_publishing and entry.get("state") in ("draining", "failing"):
        return None
    host = entry.get("broadcast_address")
    # What would split a header or a log line is no address of anybody's.
    if not isinstance(host, str) or not host or len(host) > 255 or not host.isprintable() or " " in host:
        return None
    address = _join(host, entry.get("tcp_port"))
    if not address:
        return None
    region, zone = entry.get("topology_region"), entry.get("topology_zone")
    return Producer(
        address=address,
        http_address=_join(host, entry.get("http_port")),
        region=region if isinstance(region, str) else "",
        zone=zone if isinstance(zone, str) else "",
    )


def _join(host: str, port: Any) -> str:
    """Return host:port, or "" if port is none."""
    if type(port) is not int or not 1 <= port <= 65535:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
