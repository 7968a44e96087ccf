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
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
_FIRST = b"traceparent: "
_SECOND = b"tracestate: "

# The longest header line that is looked for, in bytes: W3C asks for 512 of a
# tracestate, and bodies of megabytes must not be searched.
_LONGEST = 4096


def wrap(body: bytes, traceparent: str, tracestate: str = "") -> bytes:
    """Return body with the trace context before it.

    traceparent is as in the HTTP header of that name. Raises ValueError if it is
    not valid, or if tracestate has other than printable ASCII characters or is
    longer than 4096.
    """
    parent = traceparent.encode("ascii", "replace")
    if not _valid(parent):
        raise ValueError(f"traceparent {traceparent!r} is not one of W3C's")
    if not tracestate:
        return b"%b%b\n\n%b" % (_FIRST, parent, body)
    if not (tracestate.isascii() and tracestate.isprintable()) or len(tracestate) > _LONGEST:
        raise ValueError(f"tracestate {tracestate[:100]!r} is not one line of at most {_LONGEST} printable ASCII characters")
    return b"%b%b\n%b%b\n\n%b" % (_FIRST, parent, _SECOND, tracestate.encode(), body)


def unwrap(body: bytes) -> tuple[bytes, str, str]:
    """Return the body without its trace context, its traceparent and its tracestate.

    Of a body that has none, both are empty and the body is returned as it is.
    """
    if not body.startswith(_FIRST):
        return body, "", ""
    end = body.find(b"\n", 0, len(_FIRST) + _LONGEST)
    parent = body[len(_FIRST) : end]
    if end < 0 or not _valid(parent):
        return body, "", ""
    state = b""
    at = end + 1
    if body.startswith(_SECOND, at):
        end = body.find(b"\n", at, at + len(_SECOND) + _LONGEST + 1)
        state = body[at + len(_SECOND) : end]
        at = end + 1
        if end < 0 or not state.isascii():
            return body, "", ""
    if body[at : at + 1] != b"\n":
        return body, "", ""
    return body[at + 1 :], parent.decode(), state.decode()


def new_traceparent(parent: str = "", *, sampled: bool = True) -> str:
    """Return a traceparent with a span ID of its own.

    It belongs to the trace of parent if that is a valid traceparent (and then has
    its flags), and begins a trace otherwise.
    """
    match = _TRACEPARENT.fullmatch(parent.encode("ascii", "replace"))
    if match is None:
        return f"00-{_random(16)}-{_random(8)}-{'01' if sampled else '00'}"
    return f"00-{match[1].decode()}-{_random(8)}-{parent[53:55]}"


def _valid(parent: bytes) -> bool:
    # Version 00 has exactly these fields.
    return _TRACEPARENT.fullmatch(parent) is not None and (len(parent) == 55 or not parent.startswith(b"00"))


def _random(size: int) -> str:
    while not int(text := secrets.token_hex(size), 16):
        pass
    return text
