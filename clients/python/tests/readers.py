"""What tests of Reader and AsyncReader have in common."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from .consuming import Case, Daemon
from .forms import OnLoop, Threaded
from .publishing import PATIENCE, wait_until


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


def wait_ready(daemons: list[Daemon], condition: Any) -> None:
    """Wait until what the daemons were given last satisfies condition."""
    wait_until(lambda: condition([next((p.ready for p in d.peers if not p.gone), 0) for d in daemons]))


def in_both_forms(loader: unittest.TestLoader, *cases: type[Forms]) -> unittest.TestSuite:
    """What load_tests returns: the cases, in each form of a Reader."""
    suite = unittest.TestSuite()
    for tests in cases:
        for form in (Threaded, OnLoop):
            case = type(f"{tests.__name__}_{form.__name__}", (tests,), {"form": form})
            suite.addTests(loader.loadTestsFromTestCase(case))
    return suite
