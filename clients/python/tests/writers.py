"""What tests of Writer and AsyncWriter have in common."""

from __future__ import annotations

from typing import Any

from tests.publishing import Case, Daemon, wait_until

#: A port on which nobody listens.
NOBODY = "127.0.0.1:1"


class Form(Case):
    """What both forms have: make is the form's own."""

    make: Any

    def writer(self, *addresses: str | Daemon, **settings: Any) -> Any:
        named = [a if isinstance(a, str) else a.address for a in addresses]
        writer = self.make(named, **settings)

        def close() -> None:
            try:
                writer.close()
            except TimeoutError:
                pass

        self.addCleanup(close)
        return writer

    def stop(self, daemon: Daemon, writer: Any) -> None:
        """Has the daemon crash, and the writer notice it."""
        daemon.stop()
        wait_until(lambda: writer.stats().connections == 0)
