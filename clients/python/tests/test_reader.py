"""What a Reader does, in both of its forms."""

from __future__ import annotations

import threading
import time
from typing import Any

import millrace

from .consuming import Case, Daemon, message, producers, response
from .forms import OnLoop, Threaded
from .publishing import ERROR, PATIENCE, RESPONSE, frame, wait_until


class Handlers:
    """A handler that tells what it was given, and does as it is told."""

    def __init__(self, *outcomes: Any) -> None:
        self.given: list[Any] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Event()
        self._outcomes = list(outcomes)

    def __call__(self, given: Any) -> Any:
        self.given.append(given)
        self.began.release()
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome == "wait":
            assert self.go.wait(PATIENCE)
            return None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome() if callable(outcome) else outcome

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.began.acquire(timeout=PATIENCE)


class Forms(Case):
    form: type[Threaded]

    def reader(self, **settings: Any) -> Threaded:
        reader = self.form(**settings)
        self.addCleanup(reader.close)
        return reader

    def running(self, *daemons: Daemon, **settings: Any) -> Threaded:
        reader = self.reader(addresses=[d.address for d in daemons], **settings)
        reader.start()
        return reader


class Handling(Forms):
    """What becomes of messages."""

    def test_handled_in_order_and_finished(self) -> None:
        daemon, h = self.daemon(b"a", b"b", b"c"), Handlers()
        reader = self.running(daemon, handler=h)
        daemon.wait(lambda: len(daemon.finished) == 3)
        self.assertEqual([m.body for m in h.given], [b"a", b"b", b"c"])
        first = h.given[0]
        self.assertEqual((first.id, first.attempts, first.timestamp, first.address), ("0" * 15 + "1", 1, 1, daemon.address))
        self.assertEqual(daemon.commands[1:3], ["SUB t c", "RDY 200"])
        reader.close()
        self.assertEqual(reader.call("stats"), millrace.ReaderStats(0, 0, 3, 3, 0, 0))

    def test_failed_comes_back_later(self) -> None:
        daemon, h = self.daemon(), Handlers(OSError("no"), OSError("no"), OSError("no"))
        self.running(daemon, handler=h, requeue_delay=2.5, max_requeue_delay=6)
        daemon.subscriber().send(message(1, b"a", 1) + message(2, b"a", 2) + message(3, b"a", 60000))
        for i in (1, 2, 3):
            daemon.peer().in_flight[f"{i:016x}"] = b"a", 1
        daemon.wait(lambda: sum(c.startswith("REQ") for c in daemon.commands) == 3)
        delays = [c.split()[2] for c in daemon.commands if c.startswith("REQ")]
        self.assertEqual(delays, ["2500", "5000", "6000"])
        self.assertIn("attempts 1", self.log.having("the handler failed")[0])

    def test_any_exception_leaves_the_reader_alive(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers(SystemExit(1) if self.form is Threaded else RecursionError())
        self.running(daemon, handler=h)
        daemon.wait_commands("REQ 0000000000000001 5000")
        daemon.wait(lambda: daemon.finished == ["0000000000000002"])

    def test_answered_later(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers(millrace.AnswerLater(), millrace.ANSWER_LATER)
        self.running(daemon, handler=h)
        h.wait(2)
        a, b = h.given
        b.finish()
        daemon.wait_commands("FIN 0000000000000002")
        a.requeue(1.5)
        daemon.wait_commands("REQ 0000000000000001 1500")

    def test_answered_once(self) -> None:
        daemon = self.daemon(b"a", b"b")

        def h(m: millrace.Message) -> None:
            m.finish()
            m.requeue(1)
            m.finish()
            assert m.answered

        reader = self.running(daemon, handler=h)
        daemon.wait(lambda: len(daemon.finished) == 2)
        reader.close()
        self.assertEqual([c.split()[0] for c in daemon.commands[3:]], ["FIN", "FIN", "CLS"])

    def test_concurrency(self) -> None:
        daemon, h = self.daemon(*(b"%d" % i for i in range(5))), Handlers(*["wait"] * 5)
        self.running(daemon, handler=h, concurrency=5)
        h.wait(5)
        self.assertEqual(daemon.finished, [])
        h.go.set()
        daemon.wait(lambda: len(daemon.finished) == 5)

    def test_batches(self) -> None:
        daemon, h = self.daemon(*(b"%d" % i for i in range(7))), Handlers(None, OSError("no"), millrace.ANSWER_LATER)
        self.running(daemon, batch_handler=h, batch_size=3)
        h.wait(3)
        self.assertEqual([[m.body for m in batch] for batch in h.given], [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]])
        h.given[2][0].finish()
        daemon.wait(lambda: len(daemon.finished) == 4)
        daemon.wait(lambda: sum(c.startswith("REQ") for c in daemon.commands) == 3)
        self.assertIn("a batch of 3", self.log.having("the handler failed")[0])

    def test_a_batch_waits_for_company(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers()
        self.running(daemon, batch_handler=h, batch_size=3, batch_wait=PATIENCE)
        daemon.subscriber()
        daemon.hold(b"b", b"c")
        h.wait()
        self.assertEqual([m.body for m in h.given[0]], [b"a", b"b", b"c"])

    def test_a_batch_does_not_wait_for_what_cannot_come(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers()
        self.running(daemon, batch_handler=h, batch_wait=PATIENCE, max_in_flight=2)
        h.wait()
        self.assertEqual(len(h.given[0]), 2)

    def test_a_batch_waits_no_longer(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers()
        self.running(daemon, batch_handler=h, batch_wait=0.01)
        h.wait()
        self.assertEqual(len(h.given[0]), 1)

    def test_a_batch_does_not_wait_until_it_is_taken_back(self) -> None:
        daemon, h = self.daemon(b"a", info={"msg_timeout": 400}), Handlers()
        self.running(daemon, batch_handler=h, batch_wait=PATIENCE)
        h.wait()
        self.assertEqual([m.body for m in h.given[0]], [b"a"])

    def test_given_up(self) -> None:
        for give_up, command in ((None, "FIN"), (Handlers(), "FIN"), (Handlers(OSError("no")), "REQ")):
            with self.subTest(command=command, give_up=give_up):
                daemon, h = self.daemon(), Handlers()
                reader = self.running(daemon, handler=h, max_attempts=2, on_give_up=give_up)
                peer = daemon.subscriber()
                peer.in_flight[f"{1:016x}"] = peer.in_flight[f"{2:016x}"] = b"", 0
                peer.send(message(1, b"", 3) + message(2, b"", 2))
                daemon.wait_commands(command + " 0000000000000001", "FIN 0000000000000002")
                reader.close()
                self.assertEqual([m.attempts for m in h.given], [2])
                self.assertEqual([m.attempts for m in give_up.given] if give_up else [3], [3])

    def test_given_up_in_batches(self) -> None:
        daemon, h, give_up = self.daemon(), Handlers(), Handlers()
        self.running(daemon, batch_handler=h, max_attempts=2, on_give_up=give_up)
        peer = daemon.subscriber()
        peer.in_flight[f"{1:016x}"] = peer.in_flight[f"{2:016x}"] = b"", 0
        peer.send(message(1, b"", 3) + message(2, b"", 2))
        daemon.wait(lambda: len(daemon.finished) == 2)
        self.assertEqual([[m.id for m in batch] for batch in h.given], [[f"{2:016x}"]])
        self.assertEqual([m.id for m in give_up.given], [f"{1:016x}"])

    def test_touched_while_the_handler_runs(self) -> None:
        daemon, h = self.daemon(b"a", b"b", info={"msg_timeout": 1000}), Handlers("wait")
        self.running(daemon, handler=h, max_in_flight=1)
        daemon.wait_commands(*["TOUCH 0000000000000001"] * 3)
        h.go.set()
        daemon.wait_commands("FIN 0000000000000001", "FIN 0000000000000002")

    def test_touched_no_longer_than_can_be(self) -> None:
        daemon, h = self.daemon(b"a", info={"msg_timeout": 1000, "max_msg_timeout": 1200}), Handlers("wait")
        reader = self.running(daemon, handler=h)
        h.wait()
        delivered = time.monotonic()
        daemon.wait_commands("TOUCH")
        time.sleep(max(0.0, delivered + 2.6 - time.monotonic()))  # twice the longest: whatever came, came by then
        self.assertLessEqual(sum(c.startswith("TOUCH") for c in daemon.commands), 3)
        h.go.set()
        reader.close()

    def test_expired_is_not_handled(self) -> None:
        daemon, h = self.daemon(b"a", b"b", info={"msg_timeout": 1000}), Handlers("wait")
        reader = self.running(daemon, handler=h, max_in_flight=2)
        h.wait()
        daemon.wait_commands(*["TOUCH"] * 4)  # a timeout has passed
        h.go.set()
        daemon.wait_commands("FIN 0000000000000001")
        reader.close()
        self.assertEqual((len(h.given), reader.call("stats").expired), (1, 1))

    def test_told_of_what_was_handled(self) -> None:
        daemon, told = self.daemon(b"a", b"b"), []
        error = OSError("no")
        self.running(daemon, handler=Handlers(None, error), on_handled=told.append)
        daemon.wait_commands("FIN", "REQ")
        daemon.wait(lambda: len(told) == 2)
        self.assertEqual([(t.messages, t.error) for t in told], [(1, None), (1, error)])
        self.assertGreater(told[0].age, 1e9)  # published in 1970
        self.assertGreaterEqual(told[0].took, 0)

    def test_who_is_told_may_fail(self) -> None:
        daemon = self.daemon(b"a", b"b")
        self.running(daemon, handler=Handlers(), on_handled=Handlers(OSError("no"), SystemExit(3)))
        daemon.wait(lambda: len(daemon.finished) == 2)

    def test_too_late_is_no_failure(self) -> None:
        daemon, h = self.daemon(), Handlers()
        self.running(daemon, handler=h)
        daemon.subscriber().send(message(1, b"a"))  # which the daemon knows nothing of
        h.wait()
        daemon.wait_commands("FIN")
        daemon.hold(b"b")
        h.wait()
        daemon.wait(lambda: len(daemon.finished) == 1)
        self.assertEqual(len(daemon.peers), 1)
        self.assertTrue(self.log.having("came too late"))


class Credit(Forms):
    """How max_in_flight is divided."""

    def test_shared_evenly(self) -> None:
        daemons = [self.daemon(), self.daemon()]
        self.running(*daemons, handler=Handlers(), max_in_flight=10)
        wait_ready(daemons, lambda ready: ready == [5, 5])

    def test_no_more_than_a_daemon_allows(self) -> None:
        daemons = [self.daemon(), self.daemon(info={"max_rdy_count": 1})]
        self.running(*daemons, handler=Handlers(), max_in_flight=10)
        wait_ready(daemons, lambda ready: ready == [9, 1])

    def test_goes_where_the_traffic_is(self) -> None:
        daemons = [self.daemon() for _ in range(4)]
        h = Handlers(*[millrace.ANSWER_LATER] * 60)
        self.running(*daemons, handler=h, max_in_flight=100)
        wait_ready(daemons, lambda ready: ready == [25] * 4)
        daemons[2].hold(*[b"x"] * 60)
        h.wait(60)  # more than its part of the credit

    def test_what_one_leaves_another_takes(self) -> None:
        daemons = [self.daemon(), self.daemon()]
        self.running(*daemons, handler=Handlers(), max_in_flight=4)
        wait_ready(daemons, lambda ready: ready == [2, 2])
        daemons[1].close()
        wait_ready(daemons[:1], lambda ready: ready == [4])

    def test_twenty_daemons_and_one_credit(self) -> None:
        daemons = [self.daemon(b"a", b"b", b"c") for _ in range(20)]
        began = time.monotonic()
        h = Handlers()
        self.running(*daemons, handler=h, max_in_flight=1)
        for daemon in daemons:
            daemon.wait(lambda: len(daemon.finished) == 3)
        # Which a machine that is busy may need longer for.
        self.assertLess(time.monotonic() - began, 2 + PATIENCE / 4)

    def test_idle_daemons_leave_the_credit_to_one(self) -> None:
        daemons = [self.daemon() for _ in range(20)]
        self.running(*daemons, handler=Handlers(), max_in_flight=1)
        for daemon in daemons:
            daemon.wait_commands("RDY 1", "RDY 0")
        began = time.monotonic()
        daemons[7].hold(*[b"x"] * 500)
        daemons[7].wait(lambda: len(daemons[7].finished) == 500)
        self.assertLess(time.monotonic() - began, PATIENCE / 2)

    def test_a_slow_handler_collects_no_messages(self) -> None:
        daemons = [self.daemon(b"a") for _ in range(3)]
        h = Handlers("wait")
        self.running(*daemons, handler=h, max_in_flight=1)
        h.wait()
        for daemon in daemons:
            daemon.wait_commands("SUB")
        # Credit is taken back when the turn is over; nobody else gets it.
        wait_ready(daemons, lambda ready: ready == [0, 0, 0])
        h.go.set()
        for daemon in daemons:
            daemon.wait(lambda: len(daemon.finished) == 1)

    def test_paused(self) -> None:
        daemon, h = self.daemon(), Handlers()
        reader = self.running(daemon, handler=h)
        daemon.wait_commands("RDY 200")
        reader.call("pause")
        daemon.wait_commands("RDY 200", "RDY 0")
        daemon.hold(b"a")
        reader.call("resume")
        daemon.wait_commands("RDY 200", "RDY 0", "RDY 200", "FIN")

    def test_backs_off_as_a_whole(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers(OSError("no"), OSError("no"))
        self.running(daemon, handler=h, backoff=0.01, max_backoff=0.05)
        daemon.wait_commands("RDY 200", "RDY 0", "RDY 1")
        daemon.hold(b"b")
        daemon.wait_commands("RDY 1", "RDY 0", "RDY 1")
        daemon.hold(b"c")
        daemon.wait_commands("RDY 1", "FIN 0000000000000003")
        self.assertEqual(daemon.commands.count("RDY 200"), 1)
        daemon.hold(b"d")
        daemon.wait_commands("FIN 0000000000000003", "FIN 0000000000000004")
        daemon.wait_commands("FIN 0000000000000003", "RDY 200")

    def test_starved(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers(millrace.ANSWER_LATER)
        reader = self.running(daemon, handler=h, max_in_flight=1)
        h.wait()
        self.assertTrue(reader.call("starved"))
        h.given[0].finish()
        daemon.wait_commands("FIN")
        self.assertFalse(reader.call("starved"))


class Connections(Forms):
    """Daemons that come and go."""

    def test_what_is_asked_of_the_daemon(self) -> None:
        daemon = self.daemon()
        self.running(
            daemon, handler=Handlers(), msg_timeout=2.5, sample_rate=7, start="earliest", zone="z", client_id="me"
        )
        identity = daemon.subscriber().identity
        wanted = {"output_buffer_timeout": 25, "msg_timeout": 2500, "sample_rate": 7, "millrace": {"channel_start": "earliest"}, "topology_zone": "z", "client_id": "me"}
        self.assertEqual({k: identity[k] for k in wanted}, wanted)
        self.assertTrue(self.log.having("has no effect there"))

    def test_starts_earliest_without_a_word(self) -> None:
        daemon = self.daemon(extension={"seek": True})
        self.running(daemon, handler=Handlers(), start="earliest")
        daemon.subscriber()
        self.assertEqual(self.log.having("has no effect"), [])

    def test_connects_again(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers("wait")
        self.running(daemon, handler=h)
        h.wait()
        daemon.peer().cut()
        daemon.wait(lambda: len(daemon.peers) == 2)
        h.go.set()
        daemon.wait(lambda: len(daemon.finished) == 2)
        # What had waited for the handler came again, and was not handled twice.
        self.assertEqual([(m.body, m.attempts) for m in h.given if m.body == b"b"], [(b"b", 2)])
        self.assertTrue(self.log.having("connection lost"))

    def test_waits_for_a_daemon(self) -> None:
        daemon = self.daemon()
        daemon.close()
        reader = self.running(daemon, handler=Handlers())
        wait_until(lambda: self.log.having("cannot connect"))
        self.assertEqual(len(self.log.having("cannot connect")), 1)
        reader.close()

    def test_an_address_that_cannot_be_harms_no_other(self) -> None:
        daemon, names = self.daemon(b"a"), ["a" * 70 + ".example", "..", "\x80"]
        listed = [{"broadcast_address": name, "tcp_port": 1} for name in names] + producers(daemon)["producers"]
        reader = self.reader(lookupds=[self.lookupd(lookup=[response({"producers": listed})]).address], handler=Handlers())
        reader.start()
        daemon.wait(lambda: daemon.finished)
        wait_until(lambda: self.log.having("is no host's name"))
        reader.close()

    def test_garbage(self) -> None:
        for what, garbage in {
            "a size": b"\x7f\xff\xff\xff\0\0\0\2",
            "a type": frame(7, b"abc"),
            "a short message": frame(2, b"abc"),
            "an answer to nothing": frame(RESPONSE, b"OK"),
            "a fatal error": frame(ERROR, b"E_INVALID whatever"),
        }.items():
            with self.subTest(what):
                daemon = self.daemon()
                reader = self.running(daemon, handler=Handlers())
                daemon.subscriber().send(garbage)
                daemon.wait(lambda: len(daemon.peers) == 2 and daemon.peers[1].ready)
                reader.close()

    def test_a_refused_subscription(self) -> None:
        daemon = self.daemon()
        daemon.silent.add("SUB")
        self.running(daemon, handler=Handlers())
        daemon.wait_commands("SUB")
        daemon.silent.clear()
        daemon.peer().send(frame(ERROR, b"E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1"))
        daemon.wait_commands("SUB", "SUB", "RDY")
        self.assertIn("exceeds limit", self.log.having("cannot connect")[0])

    def test_beats_while_handlers_block(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers("wait")
        self.running(daemon, handler=h)
        h.wait()
        daemon.peer().send(frame(RESPONSE, b"_heartbeat_") * 2)
        daemon.wait(lambda: daemon.nops)
        h.go.set()

    def test_found_by_lookupds(self) -> None:
        a, b = self.daemon(b"a"), self.daemon(b"b")
        hangs = self.lookupd(lookup=[b""])
        lookupd = self.lookupd(lookup=[response({"message": "TOPIC_NOT_FOUND"}, 404), response(producers(a)), response(producers(a, b))])
        reader = self.reader(lookupds=[hangs.address, lookupd.address], handler=Handlers(), lookup_interval=0.05, dial_timeout=0.2)
        reader.start()
        for daemon in (a, b):
            daemon.wait(lambda: daemon.finished)
        self.assertEqual(lookupd.asked[0], "/lookup?topic=t")
        self.assertEqual(len(self.log.having(f"{hangs.address} failed")), 1)

    def test_forgets_a_daemon_that_none_lists(self) -> None:
        a, b = self.daemon(b"a"), self.daemon(b"b")
        lookupd = self.lookupd(lookup=[response(producers(a)), response(producers(b))])
        reader = self.reader(lookupds=[lookupd.address], handler=Handlers(), lookup_interval=0.05)
        reader.start()
        b.wait(lambda: b.finished)
        a.wait(lambda: a.finished)
        a.peer().cut()
        a.wait(lambda: a.peers[0].gone)
        wait_until(lambda: self.log.having("connection lost"))
        before = len(lookupd.asked)
        lookupd.wait(before + 4)  # more than the pause before it would be tried again
        self.assertEqual(len(a.peers), 1)


class Ending(Forms):
    def test_gives_back_what_was_not_begun(self) -> None:
        daemon, h = self.daemon(b"a", b"b", b"c"), Handlers("wait")
        reader = self.running(daemon, handler=h)
        h.wait()
        with self.thread(reader.close):
            daemon.wait_commands("CLS", "REQ 0000000000000002 0", "REQ 0000000000000003 0")
            h.go.set()
        self.assertEqual(daemon.commands[-1], "FIN 0000000000000001")
        self.assertEqual(len(h.given), 1)

    def test_what_comes_after_cls_is_given_back(self) -> None:
        daemon, h = self.daemon(), Handlers()
        reader = self.running(daemon, handler=h)
        peer = daemon.subscriber()
        daemon.silent.add("CLS")
        with self.thread(reader.close):
            daemon.wait_commands("CLS")
            peer.in_flight[f"{1:016x}"] = b"", 1
            peer.send(message(1, b"late") + frame(RESPONSE, b"CLOSE_WAIT"))
        self.assertEqual((daemon.commands[-1], h.given), ("REQ 0000000000000001 0", []))

    def test_waits_for_kept_messages(self) -> None:
        daemon, h = self.daemon(b"a"), Handlers(millrace.ANSWER_LATER)
        reader = self.running(daemon, handler=h)
        h.wait()
        with self.thread(reader.close):
            daemon.wait_commands("CLS")
            h.given[0].finish()
        self.assertEqual(daemon.commands[-1], "FIN 0000000000000001")

    def test_does_not_wait_for_ever(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers(millrace.ANSWER_LATER, millrace.ANSWER_LATER)
        reader = self.running(daemon, handler=h, shutdown_timeout=0.05)
        h.wait(2)
        reader.close()
        self.assertTrue(self.log.having("2 messages were not answered in time"))

    def test_a_daemon_that_does_not_say_goodbye(self) -> None:
        daemon = self.daemon()
        daemon.silent.add("CLS")
        reader = self.running(daemon, handler=Handlers(), shutdown_timeout=0.05)
        daemon.subscriber()
        reader.close()

    def test_while_it_connects(self) -> None:
        daemon = self.daemon()
        daemon.silent.add("IDENTIFY")
        reader = self.running(daemon, handler=Handlers())
        daemon.wait_commands("IDENTIFY")
        reader.close()

    def test_while_it_waits_to_connect(self) -> None:
        daemon = self.daemon()
        daemon.close()
        reader = self.running(daemon, handler=Handlers())
        wait_until(lambda: self.log.having("cannot connect"))
        reader.close()

    def test_twice_and_before_it_began(self) -> None:
        daemon = self.daemon()
        reader = self.reader(addresses=[daemon.address], handler=Handlers())
        reader.call("close")
        reader.start()  # returns
        reader.close()
        reader.close()
        self.assertEqual(daemon.peers, [])


class Pulling(Forms):
    def test_pulled(self) -> None:
        daemon, got = self.daemon(b"a", b"b", b"c"), []

        def pull(m: millrace.Message) -> None:
            got.append(m)
            if m.body == b"b":
                m.requeue()
            else:
                m.finish()

        reader = self.reader(addresses=[daemon.address])
        reader.start(pull)
        daemon.wait_commands("FIN 0000000000000001", "REQ 0000000000000002 5000", "FIN 0000000000000003")
        reader.close()
        self.assertEqual([m.body for m in got], [b"a", b"b", b"c"])

    def test_touched_in_the_body_of_the_loop(self) -> None:
        daemon, h = self.daemon(b"a", info={"msg_timeout": 1000}), Handlers("wait")
        reader = self.reader(addresses=[daemon.address])
        reader.start(h)
        daemon.wait_commands("TOUCH", "TOUCH")
        h.given[0].finish()
        h.go.set()

    def test_gives_back_what_was_not_pulled(self) -> None:
        daemon, h = self.daemon(b"a", b"b"), Handlers("wait")
        reader = self.reader(addresses=[daemon.address])
        reader.start(h)
        h.wait()
        with self.thread(reader.close):
            daemon.wait_commands("CLS", "REQ 0000000000000002 0")
            h.given[0].finish()
            h.go.set()
        self.assertEqual(daemon.commands[-1], "FIN 0000000000000001")


class Seeking(Forms):
    def test_moves_every_daemon(self) -> None:
        daemons = [self.daemon(extension={"seek": True}) for _ in range(2)]
        reader = self.running(*daemons, handler=Handlers())
        reader.call("seek", "earliest")
        for daemon in daemons:
            daemon.wait_commands("SEEK earliest")

    def test_what_waits_is_forgotten(self) -> None:
        daemon, h = self.daemon(b"a", b"b", extension={"seek": True}), Handlers("wait")
        reader = self.running(daemon, handler=h)
        h.wait()
        reader.call("seek", "latest")
        h.go.set()
        daemon.hold(b"c")
        h.wait()
        self.assertEqual([m.body for m in h.given], [b"a", b"c"])

    def test_failures_are_named(self) -> None:
        ours, other = self.daemon(extension={"seek": True}), self.daemon()
        reader = self.running(ours, other, handler=Handlers())
        with self.assertRaisesRegex(millrace.SeekError, f"1 of 2 daemons: {other.address} does not know SEEK"):
            reader.call("seek", "earliest")
        with self.assertRaisesRegex(millrace.SeekError, "2 of 2 daemons.*E_SEEK_FAILED SEEK nowhere failed"):
            reader.call("seek", "nowhere")
        ours.hold(b"a")
        ours.wait(lambda: ours.finished)  # it is no failure of the connection
        self.assertEqual(len(ours.peers), 1)
        with self.assertRaises(ValueError):
            reader.call("seek", "two words")

    def test_nobody_to_ask(self) -> None:
        daemon = self.daemon()
        daemon.close()
        reader = self.running(daemon, handler=Handlers())
        with self.assertRaisesRegex(millrace.SeekError, "no daemon is connected"):
            reader.call("seek", "earliest")


def wait_ready(daemons: list[Daemon], condition: Any) -> None:
    """Wait until what the daemons were given last satisfies condition."""
    wait_until(lambda: condition([next((p.ready for p in d.peers if not p.gone), 0) for d in daemons]))


def load_tests(loader: Any, standard: Any, pattern: Any) -> Any:
    import unittest

    suite = unittest.TestSuite()
    for tests in (Handling, Credit, Connections, Ending, Pulling, Seeking):
        for form in (Threaded, OnLoop):
            case = type(f"{tests.__name__}_{form.__name__}", (tests,), {"form": form})
            suite.addTests(loader.loadTestsFromTestCase(case))
    return suite
