"""How a Reader connects, ends, is pulled from and seeks, in both of its forms."""

from __future__ import annotations

from typing import Any

import millrace

from .consuming import message, producers, response
from .publishing import ERROR, RESPONSE, frame, wait_until
from .readers import Forms, Handlers, in_both_forms


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


def load_tests(loader: Any, standard: Any, pattern: Any) -> Any:
    return in_both_forms(loader, Connections, Ending, Pulling, Seeking)
