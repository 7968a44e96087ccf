"""How a Reader's credit, max_in_flight, is divided among its connections. Pure: no
clock, no I/O. Times are time.monotonic()'s.

Each connection has one credit at least, if they are no more than half of what
there is. The rest goes to those that have traffic: a connection is hungry when it
has used up what it had, and the hungry share evenly what the others leave, which is
what exceeds twice the most that they have lately had in flight. Nothing moves while
nobody is hungry, so that an idle Reader sends nothing.

With more connections than that, credit for nothing is too dear when somebody wants
it. A connection that has had it for a probe and brought no message rests, and its
credit goes to the one that has waited longest for a turn; one that brings messages
keeps it for a turn, and for as long as nobody waits. What those who take turns leave
goes to the hungry as above. A rest ends soon enough that a message waits for about a
second at most, and late enough that half of the time is left to connections with
messages.

Credit taken from a connection is not given to another before the first has answered
what it holds, or a slow handler would collect messages from every daemon.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TURN = 0.02  # what a connection with messages may keep while others wait
PROBE = 0.005  # what an idle one may; twice its round trip, if that is longer
_REST_LEAST = 0.2  # from a fruitless probe to the next one
_REST_MOST = 1.0  # unless the probes of all take longer than half of that


class _Claim(enum.IntEnum):
    """What a connection's wish for a first credit rests upon, the strongest first."""

    IN_TURN = 0  # the turn, or the probe, is not over
    WAITING = 1  # the turn is due
    HOLDING = 2  # the turn is over, and messages still come
    SPARE = 3  # nothing comes


@dataclass
class Share:
    """One connection's part of the credit, and what speaks for giving it more."""

    limit: int  # the most that it takes as ready
    probe: float = PROBE
    due: float = 0.0  # from when on it is to have its turn, if it has none
    ready: int = 0  # messages that the daemon may have in flight with us
    in_flight: int = 0  # messages that it has
    peak: int = 0  # the most that it had in flight since the last division
    hungry: bool = False
    heard: float = 0.0  # when it last brought a message, or had its last one answered
    given: float = 0.0  # since when it has had credit, if it has

    # Used within a division.
    claim: _Claim = _Claim.SPARE
    aim: int = 0  # what it is to have once others have let go

    def stake(self, crowded: bool, now: float) -> None:
        """Find what its claim is."""
        if self.ready == 0:
            self.claim = _Claim.SPARE if self.due > now else _Claim.WAITING
        elif not crowded:
            self.claim = _Claim.IN_TURN
        elif self.in_flight == 0 and now >= self.probe_end():
            self.claim = _Claim.SPARE
        elif not self.served() or now < self.given + TURN:
            self.claim = _Claim.IN_TURN
        else:
            self.claim = _Claim.HOLDING

    def served(self) -> bool:
        """Whether it has brought something since it has credit."""
        return self.in_flight > 0 or self.heard > self.given

    def probe_end(self) -> float:
        """When it is idle, if it has credit and nothing comes until then."""
        return max(self.heard, self.given) + self.probe

    def rank(self) -> tuple[float, ...]:
        """Order by claims, and within the same claim."""
        if self.claim == _Claim.WAITING:
            return self.claim, self.due
        if self.claim == _Claim.HOLDING:  # who has had it for longest lets go first
            return self.claim, -self.given
        if self.claim == _Claim.SPARE:  # nobody gains by its moving
            return (self.claim, 0, 0.0) if self.ready else (self.claim, 1, self.due)
        return (self.claim,)

    def want(self) -> int:
        """How much it can use."""
        if self.hungry:
            return self.limit
        if self.ready <= 4 * self.peak:  # near enough to twice the peak: not every change of traffic is one of credit
            return self.ready
        return min(max(2 * self.peak, 1), self.limit)


def divide(shares: Sequence[Share], total: int, now: float) -> float | None:
    """Divide total credits: set the shares' ready, given and due.

    Returns when it is to be called again even if nothing happens until then; None
    means never.
    """
    crowded = 2 * len(shares) > total and len(shares) > 1
    if _content(shares, total):
        return None
    for s in shares:
        s.stake(crowded, now)
    order = sorted(shares, key=Share.rank)
    _aim(order, total)
    _let_go(shares, total, now)
    _take(order, total, now)
    if not total:
        return None
    if crowded:
        return _next_look(shares, now)
    # Those who have more than one credit for what was in flight long ago show at
    # the next look.
    if any(s.hungry for s in shares) and any(not s.hungry and s.ready > 1 for s in shares):
        return now + 2 * PROBE
    return None


def _content(shares: Sequence[Share], total: int) -> bool:
    """Whether all is given out, and nobody wants it otherwise."""
    if any(s.hungry or not s.ready for s in shares):
        return False
    return sum(s.ready for s in shares) == min(total, sum(s.limit for s in shares))


def _aim(order: Sequence[Share], total: int) -> None:
    """Find what each is to have, given shares in the order of their claims."""
    for s in order:
        s.aim = int(total > 0 and s.claim != _Claim.SPARE)
        total -= s.aim
    total = _fill(order, total, Share.want)
    for s in order:
        if total > 0 and not s.aim:
            s.aim = 1
            total -= 1
    _fill(order, total, lambda s: s.limit)


def _fill(shares: Sequence[Share], total: int, want: Callable[[Share], int]) -> int:
    """Give total to those that have something, evenly, up to what each wants. Return
    what is left."""
    while total > 0:
        open_ = [s for s in shares if 0 < s.aim < want(s)]
        if not open_:
            break
        part = max(1, total // len(open_))
        for s in open_:
            more = min(part, total, want(s) - s.aim)
            s.aim += more
            total -= more
    return total


def _let_go(shares: Sequence[Share], total: int, now: float) -> None:
    """Take what exceeds the aim."""
    rest = _rest(shares, total)
    for s in shares:
        if s.aim < s.ready:
            s.ready = s.aim
            if not s.ready:
                s.due = now + rest if s.claim == _Claim.SPARE else now


def _rest(shares: Sequence[Share], total: int) -> float:
    """How long one rests that had credit for nothing."""
    if not total:
        return 0.0
    probes = sum(s.probe for s in shares)
    tour = TURN * len(shares) / total
    return max(_REST_LEAST, min(tour, _REST_MOST), 2 * probes / total)


def _take(order: Sequence[Share], total: int, now: float) -> None:
    """Give what is aimed at, as far as nobody has it any more."""
    free = total - sum(max(s.ready, s.in_flight) for s in order)
    for s in order:
        taken = max(s.ready, s.in_flight)
        following = min(s.aim, taken + free)
        if free < 0 or following <= s.ready:
            continue
        if not s.ready:
            s.given = now
        s.ready = following
        free -= max(following, s.in_flight) - taken


def _next_look(shares: Sequence[Share], now: float) -> float | None:
    """When the first one's turn, probe or rest ends."""
    first: float | None = None
    for s in shares:
        ends = s.due
        if s.ready:
            ends, turn = s.probe_end(), s.given + TURN
            if s.served() and turn > now and (s.in_flight or turn < ends):
                ends = turn
        if ends > now and (first is None or ends < first):
            first = ends
    return first
