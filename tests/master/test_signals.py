"""Signals as readable values."""

from __future__ import annotations

import os
import signal

from penstock.master.signals import SignalReader, name_of, taken


def test_signals_come_in_order_and_handlers_come_back() -> None:
    before = {number: signal.getsignal(number) for number in taken()}
    with SignalReader() as reader:
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGRTMIN + 3, signal.SIGTERM):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGPIPE)
        assert [name_of(number) for number in reader.read()] == ["SIGUSR2", "SIGHUP", "SIGRTMIN+3", "SIGTERM"]
        assert reader.read() == []
    assert {number: signal.getsignal(number) for number in taken()} == before


def test_everything_that_would_end_a_process_is_taken() -> None:
    fatal = {
        *("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP", "SIGTTIN"),
        *("SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMAX"),
    }
    assert fatal <= {name_of(number) for number in taken()}


def test_names_are_those_of_the_system() -> None:
    assert name_of(signal.SIGRTMIN + 2) == "SIGRTMIN+2" and name_of(1) == "SIGHUP"
