"""A Writer for programs without an event loop."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from ._batch import Done, Sink
from ._writer_base import Body, WriterBase, check_bodies, check_body, check_delay, check_name
from ._writer_core import ThreadWaiter, WriterCore
from ._writer_settings import WriterStats


class Writer(WriterBase):
    """Publishes messages.

        with millrace.Writer(["127.0.0.1:4150"]) as writer:
            writer.publish("greetings", b"hello")

    A writer may be used by any number of threads. What they publish singly at the
    same time is sent together, so many threads, or publish_async, are fast. It
    connects when it is first used, spreads over the daemons that it knows, and leaves
    those that are gone. Daemons are addresses (host:port of their TCP side), or found
    through lookupds (host:port of their HTTP side, or URLs), or both.

    A publish ends as stored, or raises one of three errors:

    - RefusedError: certainly not stored, and would be refused again (a topic's name,
      a message's size, a right that is missing);
    - UnavailableError: certainly not stored; nobody took it for as long as it was
      tried. Publishing it again later may succeed;
    - UncertainError: it was sent, and no answer came. It may or may not be stored.

    What is certainly not stored is tried again, on other daemons first and then with
    growing pauses, until the timeout of the publish or retry_for is over; without
    either, for as long as it takes.

    Settings; times are in seconds, sizes in bytes:

    addresses, lookupds
        One or more, as above. lookup_interval: how often lookupds are asked (60).
    max_connections
        The most daemons that it is connected to at once, of those that it knows (4).
    max_in_flight, max_in_flight_bytes
        How many messages (10,000), and bytes of them (64 MiB), may be accepted and
        not finished; more wait. A batch that is larger alone is taken when nothing
        else is in flight.
    linger
        How long a single message waits for others while the daemons owe answers; one
        that finds nothing on its way is sent at once. At most, and normally, 0.001;
        0 sends each message by itself.
    batch_messages, batch_bytes
        The most that share a command (1,000 and 256 KiB).
    retry_for
        How long a message is tried again after a failure that left it certainly not
        stored. None leaves it to the publish's timeout; 0 never tries twice.
    retry_uncertain
        Tries what may be stored again, too: it is not lost, but may be there twice.
    spool, spool_after
        A directory (or an object with the methods of millrace.Spool) for what no
        daemon has taken within spool_after (1): it counts as accepted, survives the
        program, and is delivered in order when a daemon is back: by this writer, or by
        one that has the same directory later. A message may then be delivered twice,
        never lost. One process at a time may have a directory.
    close_timeout
        How long close() waits for answers (10).
    on_publish
        Called with a Published for each command that was answered or has failed, on
        the thread that answers heartbeats: it must not block.
    dial_timeout, write_timeout
        To connect to a daemon and be greeted, and for a lookupd's answer (5); for a
        daemon that does not read (10).
    heartbeat_interval
        Asked of daemons, at least 1; 0 leaves it to them (30). Silence of two is death.
    tls
        An ssl.SSLContext, or True for the default one: every connection is upgraded,
        and a daemon that does not offer TLS is not used. It serves for lookupds given
        as https URLs, too.
    compression, deflate_level
        "snappy" (if python-snappy or cramjam is installed) or "deflate" (1 to 9, 6),
        with daemons that offer it.
    auth_secret
        Said to daemons that require AUTH; to others it is not sent.
    region, zone
        Where this program runs: of the daemons that lookupds list, those of the same
        zone, then region, are preferred.
    client_id, hostname, user_agent
        What the daemons' statistics show.
    logger
        A logging.Logger; the one named "millrace" otherwise.

    Raises ValueError for settings that cannot be right, SpoolError for a spool that
    cannot be opened. A writer that was in use in a process that forks, or has a spool,
    cannot be used in its child.
    """

    def _prepare(self) -> None:
        self._core = WriterCore(self._intake, self._settings, self._spool)
        # Of a writer that was forgotten, and at the program's end.
        self._finalizer = weakref.finalize(self, self._core.forsake)
        self._finalizer.atexit = False  # _loop sees to it, and waits
        if self._spool is not None and len(self._spool):
            self._core.started()  # what an earlier program left is delivered

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, topic: str, body: Body, *, timeout: float | None = None) -> None:
        """Publish one message and wait until a daemon has it.

        topic is a name of 1 to 64 of ".a-zA-Z0-9_-"; body is at least one byte, and at
        most what the daemon takes (1 MiB if it was told nothing else). timeout is in
        seconds, for everything: room, a connection, all that is tried, the answer.

        Raises RefusedError, UnavailableError or UncertainError, see above; ClosedError
        after close(); TypeError for a body that is not bytes. At a KeyboardInterrupt
        the message is taken back if it is not on its way, and may be stored if it is.
        """
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = ThreadWaiter()
        add = self._core.intake.add
        self._publish(topic, lambda go: add(topic, message, waiter, go), 1, len(message), waiter, timeout)

    def publish_many(self, topic: str, bodies: Iterable[Body], *, timeout: float | None = None) -> None:
        """publish() for a batch, which is one MPUB of its own and stored whole or not at
        all; nsqd alone may store some of it, which is an UncertainError. Together it
        may have what the daemon takes (5 MiB if it was told nothing else)."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        waiter = ThreadWaiter()
        self._publish(topic, self._adding(topic, messages, size, waiter), len(messages), size, waiter, timeout)

    def publish_deferred(self, topic: str, delay: float, body: Body, *, timeout: float | None = None) -> None:
        """publish() for a message that is to be delivered delay seconds after it reaches
        the daemon, in whole milliseconds, rounded up; in the spool the time goes on.
        The daemon refuses delays over its limit, an hour if it was told nothing else."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        waiter = ThreadWaiter()
        add = self._adding(topic, [message], len(message), waiter, check_delay(delay))
        self._publish(topic, add, 1, len(message), waiter, timeout)

    def publish_async(self, topic: str, body: Body, done: Done | None = None) -> None:
        """Accept one message, and return at once, or when there is room (max_in_flight).

        done is called with the outcome: None if it is stored, else one of the three
        errors. Without done, what fails is counted in stats(). Callbacks run one after
        the other in a thread of their own; one that blocks holds up the others, and in
        the end those who publish, but no heartbeat and no answer. They may publish.

        Raises RefusedError for what no daemon would take, and ClosedError after
        close(); done is not called then.
        """
        check_name(self._names, topic)
        message = check_body(topic, body)
        core = self._core.started()
        if not core.intake.add(topic, message, done):
            core.wait_and_add(lambda go: core.intake.add(topic, message, done, go), topic, 1, len(message), None)

    def publish_many_async(self, topic: str, bodies: Iterable[Body], done: Done | None = None) -> None:
        """publish_async() for a batch, which is stored whole or not at all; done is
        called once for it."""
        check_name(self._names, topic)
        messages, size = check_bodies(topic, bodies)
        self._core.started().enter(self._adding(topic, messages, size, done), topic, len(messages), size, None)

    def publish_deferred_async(self, topic: str, delay: float, body: Body, done: Done | None = None) -> None:
        """publish_async() for a message that is to be delivered after delay seconds."""
        check_name(self._names, topic)
        message = check_body(topic, body)
        add = self._adding(topic, [message], len(message), done, check_delay(delay))
        self._core.started().enter(add, topic, 1, len(message), None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was accepted so far is finished, and its callbacks
        have returned. Raises TimeoutError when that takes longer than timeout seconds."""
        self._core.flush(timeout)

    def close(self) -> None:
        """Finish what was accepted, within close_timeout, and end: connections, threads
        and the spool are closed when it returns. What is not stored by then goes to the
        spool, or fails.

        A program that forgets close() has what it published sent when it ends, as far
        as close_timeout allows. Calling it again does nothing. Raises TimeoutError if messages
        were left; each publish's own outcome says what became of it.
        """
        self._core.close()

    def stats(self) -> WriterStats:
        """What the writer is doing, and has done. May be called at any time."""
        publisher = self._core.publisher
        return publisher.stats() if publisher is not None else WriterStats()

    def _adding(
        self, topic: str, bodies: Sequence[bytes], size: int, sink: Sink, delay: float | None = None
    ) -> Callable[[bool], bool]:
        add = self._core.intake.add_batch
        return lambda go: add(topic, bodies, sink, size=size, delay=delay, granted=go)

    def _publish(
        self, topic: str, add: Callable[[bool], bool], count: int, size: int, waiter: ThreadWaiter, timeout: float | None
    ) -> None:
        began = time.monotonic()
        core = self._core.started()
        core.check_caller()
        core.enter(add, topic, count, size, timeout)
        left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
        try:
            told = waiter.wait(left)
        except BaseException:
            core.give_up(waiter, TimeoutError("the publish was interrupted"))
            raise
        if not told:
            core.give_up(waiter, TimeoutError(f"no answer within {timeout:g} s"))
            waiter.wait(None)
        if waiter.error is not None:
            raise waiter.error
