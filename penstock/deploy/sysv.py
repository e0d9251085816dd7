"""An init script for systems without systemd: starts at boot, stops within the mercy times, reloads and reports. Pure.

Plain POSIX shell that needs no library of a distribution. What it does is done by Penstock's own commands: a start
returns when the application answers, a reload when the new code serves, a stop when the instance has ended.
"""

from __future__ import annotations

import shlex

from penstock.deploy import service as about
from penstock.deploy import shell
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import Service
from penstock.values import replace

FOLDER = "/etc/init.d"
MASTER = "penstock-master"
"""The short name of a master's process (`penstock.titles`); a test holds them together."""

SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $remote_fs $network $syslog
# Required-Stop:     $remote_fs $network $syslog
# Should-Start:      {should_start}
# Should-Stop:       {should_start}
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: {name}, served by Penstock
# Description:       Starts, stops and reloads the application {name}.
### END INIT INFO
# chkconfig: 2345 85 15
# Made by: {origin}

PATH=/usr/sbin:/usr/bin:/sbin:/bin
NAME={name}
PIDFILE={pidfile}
# Requests have {mercy:g} s to end; what takes longer than this hangs.
STOP_TIMEOUT={stop_s}
OPEN_FILES={open_files}
# Variables for the application, as `export NAME=value`, and other values for these two.
# shellcheck disable=SC1090,SC1091
for file in /etc/default/{name} /etc/sysconfig/{name}; do
    if [ -r "$file" ]; then . "$file"; fi
done

penstock() {{
    {program} "$@"
}}

running() {{
    pid=
    if [ -r "$PIDFILE" ]; then read -r pid <"$PIDFILE" || :; fi
    case $pid in
        '' | *[!0-9]*) return 1 ;;
    esac
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = {master} ]
}}

start() {{
    if running; then
        echo "$NAME runs already (pid $pid)"
        return 0
    fi
    {directories}
    # shellcheck disable=SC3045
    {raise_limit} || echo "$NAME: the limit of open files stays $(ulimit -n)"
    cd {folder} || return 1
    echo "starting $NAME"
    {start}
}}

stop() {{
    if ! running; then
        echo "$NAME does not run"
        return 0
    fi
    echo "stopping $NAME (pid $pid)"
    penstock stop --wait --timeout "$STOP_TIMEOUT" "$PIDFILE" && return 0
    running || return 0
    echo "$NAME is killed: it did not end within $STOP_TIMEOUT seconds"
    penstock stop --now --wait --timeout 10 "$PIDFILE" && return 0
    running || return 0
    kill -KILL "$pid"
}}

case "$1" in
    start) start ;;
    stop) stop ;;
    restart) stop && start ;;
    try-restart | condrestart)
        if running; then stop && start; fi
        ;;
    reload | force-reload)
        running || {{
            echo "$NAME does not run"
            exit 7
        }}
        penstock reload "$PIDFILE"
        ;;
    status)
        if running; then
            echo "$NAME runs (pid $pid)"
        elif [ -s "$PIDFILE" ]; then
            echo "$NAME does not run, and its pid file is there"
            exit 1
        else
            echo "$NAME does not run"
            exit 3
        fi
        ;;
    *)
        echo "usage: $0 {{start|stop|restart|try-restart|reload|force-reload|status}}" >&2
        exit 2
        ;;
esac
"""


def script(service: Service) -> Artifact:
    """Write the script.

    Raises:
        NotPossible: a path can not stand in it.
    """
    plan = service.plan
    pidfile = plan.pidfile or f"/run/{service.name}/{service.name}.pid"
    log = plan.daemonize or plan.logto or f"/var/log/{service.name}/{service.name}.log"
    words = shell.words(service)
    if plan.daemonize is None:
        words += ["--daemonize", log]
    if plan.pidfile is None:
        words += ["--pidfile", pidfile]
    program = list(service.command[:3] if service.command[1:3] == ("-m", "penstock") else service.command[:1])
    with_files = replace(service, plan=replace(plan, pidfile=pidfile, daemonize=log))
    made = shell.directories(with_files)
    text = SCRIPT.format(
        name=service.name,
        should_start=" ".join(unit.removesuffix(".service") for unit in service.after) or "postgresql mysql",
        origin=about.printable(service.origin or "penstock sysv"),
        pidfile=shell.line([pidfile]),
        mercy=plan.drain_timeout_s,
        stop_s=about.stop_s(plan),
        open_files=about.open_files(plan),
        program=shell.line(program),
        master=shlex.quote(MASTER),
        directories=f"{shell.make_directories(service, made)} || return 1" if made else ":",
        raise_limit=shell.raise_limit('"$OPEN_FILES"'),
        folder=shell.line([service.folder]),
        start=shell.line(words),
    )
    return Artifact(f"{FOLDER}/{service.name}", text, 0o755, why="starts, stops and reloads the instance")
