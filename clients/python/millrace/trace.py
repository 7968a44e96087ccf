"""W3C trace context in a message's body, for those who wrap their bodies.

A broker carries bodies and nothing else, so a trace goes from the publisher to
the consumer inside the body, as lines of text before it::

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    tracestate: vendor=value

    the body itself

Publisher and consumer must agree to wrap; a body that is not wrapped passes
through unwrap() unchanged. Millrace's Go client writes and reads the same.
"""

from __future__ import annotations

import re
import secrets

__all__ = ["new_traceparent", "unwrap", "wrap"]

# Versions to come may append fields, which are kept; ff is never a version, and
# a trace or span of zeros is none.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?")
_PRINTABLE = re.compile(rb"[ -~]*")
_FIRST = b"traceparent: "
_SECOND = b"tracestate: "

# The longest value of a header line that is looked for, in bytes: bodies of
# megabytes must not be searched.
_LONGEST = 8 << 10


def wrap(body: bytes, traceparent: str, tracestate: str = "") -> bytes:
    """Return body with the trace context before it.

    traceparent is as in the HTTP header of that name. One that is not valid says
    nothing: then body itself is returned, for a trace is no reason not to publish. A
    tracestate that is not one line of at most 8192 printable ASCII characters is left
    out.
    """
    parent, state = traceparent.encode("ascii", "replace"), tracestate.encode("utf-8", "replace")
    if not _valid_parent(parent):
        return body
    if not _valid_state(state):
        return b"%b%b\n\n%b" % (_FIRST, parent, body)
    return b"%b%b\n%b%b\n\n%b" % (_FIRST, parent, _SECOND, state, body)


def unwrap(body: bytes) -> tuple[bytes, str, str]:
    """Return the body without its trace context, its traceparent and its tracestate.

    Of a body that has none, both are empty and the body is returned as it is.
    """
    parent, at = _line(body, 0, _FIRST)
    if not _valid_parent(parent):
        return body, "", ""
    state, behind = _line(body, at, _SECOND)
    if not _valid_state(state):
        state, behind = b"", at
    if not body.startswith(b"\n", behind):
        return body, "", ""
    return body[behind + 1 :], parent.decode(), state.decode()


def new_traceparent(parent: str = "", *, sampled: bool = True) -> str:
    """Return a traceparent with a span ID of its own.

    It belongs to the trace of parent if that is a valid traceparent, and is then
    sampled if that is. Otherwise it begins a trace.
    """
    known = parent.encode("ascii", "replace")
    if not _valid_parent(known):
        return f"00-{_random(16)}-{_random(8)}-{int(sampled):02}"
    # Other flags are not to be passed on.
    return f"00-{parent[3:35]}-{_random(8)}-{int(parent[53:55], 16) & 1:02}"


def _line(body: bytes, at: int, name: bytes) -> tuple[bytes, int]:
    """Return the value of the line at, if it begins with name, and where the next one
    begins; otherwise b""."""
    if not body.startswith(name, at):
        return b"", at
    at += len(name)
    end = body.find(b"\n", at, at + _LONGEST + 1)
    return (body[at:end], end + 1) if end >= 0 else (b"", at)


def _valid_parent(parent: bytes) -> bool:
    # Version 00 has exactly these fields.
    known = _TRACEPARENT.fullmatch(parent) is not None and (len(parent) == 55 or not parent.startswith(b"00"))
    return known and _valid_state(parent)


def _valid_state(state: bytes) -> bool:
    return 0 < len(state) <= _LONGEST and _PRINTABLE.fullmatch(state) is not None


def _random(size: int) -> str:
    while not int(text := secrets.token_hex(size), 16):
        pass
    return text
