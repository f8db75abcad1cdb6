"""The command `afterquery relay`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

from afterquery._errors import JournalError
from afterquery.outbox._relay import Relay

if TYPE_CHECKING:
    import argparse

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def run(arguments: argparse.Namespace, token: str) -> int:
    """Relay until a signal comes; the answer is the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    relay = Relay(
        arguments.db,
        arguments.replica,
        journal=arguments.journal,
        auth_token=token,
        tables=arguments.table,
        ddl=arguments.ddl,
        on_reject=arguments.on_reject,
    )
    if arguments.reset:
        return _reset(relay)
    # Here, so that no thread that is started later gets a signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait, args=(relay, arguments.timeout), daemon=True).start()
    print(f"relaying {arguments.db}", flush=True)
    done = relay.run(once=arguments.timeout if arguments.once else None)
    if arguments.once and not done:
        print(f"not all is delivered: {relay.problem or 'see the log'}", file=sys.stderr)
        return 1
    return 0


def _wait(relay: Relay, timeout: float) -> None:
    signal.sigwait(_SIGNALS)
    relay.stop_soon(timeout)


def _reset(relay: Relay) -> int:
    try:
        relay.reset()
    except JournalError as error:
        print(f"afterquery: {error}", file=sys.stderr)
        return 1
    return 0
