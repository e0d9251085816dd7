"""What the master's system calls do."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from penstock.master.processes import ProcessRef, spawn_generation

PROBE = """
import os, signal, socket
channel = socket.socket(fileno=3)
opened = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
ignored = [n.name for n in signal.Signals if signal.getsignal(n) is signal.SIG_IGN]
masked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
channel.send(repr((opened[:4], ignored, masked)).encode())
"""


def test_generation_gets_its_channel_and_clean_signals(tmp_path: Path) -> None:
    boot = tmp_path / "boot.py"
    boot.write_text(PROBE)
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = spawn_generation(sys.executable, theirs.fileno(), boot)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGTTOU, handler)
    theirs.close()
    with mine:
        mine.settimeout(20)
        opened, ignored, masked = eval(mine.recv(4096))
    os.waitpid(pid, 0)
    assert opened == [0, 1, 2, 3]
    # Python itself ignores these.
    assert set(ignored) <= {"SIGPIPE", "SIGXFSZ"} and masked == set()


def test_signal_reaches_the_process_and_never_its_successor() -> None:
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    reference = ProcessRef(pid)
    reference.send(signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    reference.send(signal.SIGKILL)
    reference.close()
    reference.close()
    ProcessRef(pid).send(signal.SIGKILL)


def test_signal_reaches_the_process_where_the_kernel_has_no_reference() -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "not implemented")

    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    reference = ProcessRef(pid, refuse)
    reference.send(signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    reference.close()


TIDY = """
import os
from penstock.master.processes import tidy_descriptors
tidy_descriptors()
opened = os.open("/", os.O_RDONLY)
print([os.path.exists(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)], opened > 2, file=open("/dev/fd/9", "w"))
print([os.get_inheritable(fd) for fd in (0, 1, 2, 9)], file=open("/dev/fd/9", "a"))
"""


def test_standard_descriptors_are_open_and_others_stay_here(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("w") as file:
        command = 'exec "$0" -c "$1" 9>&"$2" <&- >&- 2>&-'
        subprocess.run(["/bin/bash", "-c", command, sys.executable, TIDY, str(file.fileno())], pass_fds=[file.fileno()])
    assert said.read_text() == "[True, True, True] True\n[True, True, True, False]\n"
