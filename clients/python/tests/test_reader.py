"""What a Reader does with messages and with its credit, in both of its forms."""

from __future__ import annotations

import time
from typing import Any

import millrace

from .consuming import message
from .forms import Threaded
from .publishing import PATIENCE
from .readers import Forms, Handlers, in_both_forms, wait_ready


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

    def test_a_batch_does_not_wait_for_a_daemon_that_has_nothing(self) -> None:
        bodies = [b"%d" % i for i in range(200)]
        busy, idle, h = self.daemon(*bodies), self.daemon(), Handlers()
        self.running(busy, idle, batch_handler=h, batch_wait=10 * PATIENCE, max_in_flight=16)
        busy.wait(lambda: len(busy.finished) >= 180)

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


def load_tests(loader: Any, standard: Any, pattern: Any) -> Any:
    return in_both_forms(loader, Handling, Credit)
