"""Settings + this machine -> Plan. The one place where defaults meet the machine.

Each part of the plan has a module of its own beside this one; what was said, the machine and what is wrong with both
together is their `Context`. Everything that is wrong is collected and raised at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from penstock.config.findings import Finding
from penstock.config.ruled import broken
from penstock.config.settings import Settings
from penstock.options.rules import RULES
from penstock.plan import activation, app, dependent, engine, gates, hooks, log, processes, programs, sockets
from penstock.plan.context import Context
from penstock.plan.machine import Machine
from penstock.plan.process_types import HooksPlan, ProgramsPlan, ScriptPlan
from penstock.plan.types import Plan, StatsFormPlan
from penstock.values import replace


class PlanError(Exception):
    """What was said can not be done on this machine; `findings` has every error, `exit_status` is the command's."""

    def __init__(self, findings: Iterable[Finding], exit_status: int = 1) -> None:
        self.findings = tuple(findings)
        self.exit_status = exit_status
        super().__init__("\n".join(str(finding) for finding in self.findings))


def resolve(settings: Settings, machine: Machine) -> Plan:
    """Make the plan.

    Raises PlanError, with everything that is wrong, if there is no plan that does what was said.
    """
    plan, findings = attempt(settings, machine)
    errors = [finding for finding in findings if finding.level == "error"]
    if plan is None:
        statuses = {rule.id: rule.exit_status for rule in RULES}
        # A status of its own only where it tells the whole story.
        raise PlanError(errors, statuses.get(errors[0].code, 1) if len(errors) == 1 else 1)
    return plan


def attempt(settings: Settings, machine: Machine) -> tuple[Plan | None, tuple[Finding, ...]]:
    """Make the plan if there is one, with everything that is wrong or will surprise; nothing is raised."""
    context = Context(settings, machine)
    _check_rules(context)
    _check_chdir(context)
    _check_identity(context)
    said = settings
    count = said.number("processes")
    if count == -1:
        count = processes.automatic(context)
    the_app = app.app(context)
    listeners = sockets.listeners(context)
    stats = sockets.own(context, "stats", listeners)
    admin = sockets.own(context, "admin", (*listeners, *((stats,) if stats else ())))
    listeners, (stats, admin), unused = activation.with_inherited(context, listeners, stats, admin)
    plan = Plan(
        listeners=listeners,
        app=the_app,
        engine=engine.engine(context, count, the_app),
        processes=count,
        lazy_apps=said.flag("lazy-apps") or said.flag("lazy"),
        need_app=said.flag("need-app"),
        pidfile=context.at_start("pidfile"),
        daemonize=context.at_start("daemonize"),
        logto=log.log_file(context),
        vacuum=said.flag("vacuum"),
        term="stop" if said.flag("die-on-term") else "reload",
        stats=stats,
        admin=admin,
        touch_reload=tuple(context.after_chdir(path) for path in said.texts("touch-reload")),
        uid=said.text("uid"),
        gid=said.text("gid"),
        umask=said.number("umask") if said.given("umask") else None,
        drain_timeout_s=float(said.number("worker-reload-mercy")),
        log=log.logs(context),
        stats_form=StatsFormPlan(
            http=said.flag("stats-http"),
            minified=said.flag("stats-minified"),
            cores=not said.flag("stats-no-cores"),
        ),
        notes=(),
        exit_on_reload=said.flag("exit-on-reload"),
        drain_delay_s=float(said.number("drain-delay")),
        recycling=processes.recycling(context),
        scaling=processes.scaling(context, count),
        watch=processes.watch(context),
        strategy=processes.strategy(context),
        titles=processes.titles(context),
        asking=processes.asking(context),
        limits=processes.limits(context),
        groups=processes.groups(context),
        programs=programs.programs(context, the_app.environment),
        hooks=hooks.hooks(context),
        gates=gates.gates(context),
        pidfile2=context.after_chdir(path) if (path := said.text("pidfile2")) is not None else None,
        safe_pidfiles=processes.safe_pidfiles(context),
        unused_sockets=unused,
    )
    if said.flag("no-server"):
        plan = _only_loading(plan)
    script = processes.script(context)
    if script.kind:
        return _only_running(context, plan, script)
    _add_notes(context)
    dependent.note_what_does_nothing(context)
    if context.errors:
        return None, context.findings
    notes = [f"warning: {finding}" for finding in context.warnings] + [str(note) for note in context.remarks]
    return replace(plan, notes=tuple(notes)), context.findings


def _only_loading(plan: Plan) -> Plan:
    """Of a plan, what tests it beside an instance that serves already: nothing is bound, and nothing is written."""
    return replace(
        plan,
        listeners=(),
        stats=None,
        admin=None,
        pidfile=None,
        daemonize=None,
        logto=None,
        touch_reload=(),
        lazy_apps=False,
        need_app=True,
        only_loads=True,
        programs=ProgramsPlan(),
        hooks=HooksPlan(),
    )


def _only_running(context: Context, plan: Plan, script: ScriptPlan) -> tuple[Plan | None, tuple[Finding, ...]]:
    """Of a plan, what a script finds around itself."""
    if context.errors:
        return None, context.findings
    notes = tuple(f"warning: {finding}" for finding in context.warnings)
    plan = replace(_only_loading(plan), need_app=plan.need_app, processes=1, script=script, notes=notes)
    return plan, context.findings


def _check_rules(context: Context) -> None:
    has_sockets = any(one.family is not None for one in context.machine.inherited)
    for finding in broken(RULES, context.said):
        if finding.code == "no-listener" and has_sockets:
            continue
        (context.errors if finding.level == "error" else context.warnings).append(finding)


def _check_chdir(context: Context) -> None:
    if not os.path.isdir(context.chdir):
        what = "is not a directory" if os.path.exists(context.chdir) else "does not exist"
        origin = context.said.origin("chdir")
        context.error("no-directory", f"chdir = {context.chdir}: it {what}", origin, "create it, or correct the path")


def _check_identity(context: Context) -> None:
    """Names must exist, and only root can become somebody else."""
    for name, find, own in (
        ("uid", context.machine.user_id, context.machine.euid),
        ("gid", context.machine.group_id, None),
    ):
        wanted = context.said.text(name)
        if wanted is None:
            continue
        number = find(wanted)
        origin = context.said.origin(name)
        if number is None:
            code, kind = ("no-user", "user") if name == "uid" else ("no-group", "group")
            message = f"{name} = {wanted}: there is no such {kind}"
            context.error(code, message, origin, "create it, or name another")
        elif own is not None and context.machine.euid != 0 and number != own:
            context.error(
                "not-root", f"{name} = {wanted}: only root can become another user", origin, "start it as root"
            )


def _add_notes(context: Context) -> None:
    said = context.said
    if context.machine.euid == 0 and not said.given("uid"):
        cure = "give it a user of its own: uid = www-data, gid = www-data"
        context.warn("runs-as-root", "the instance runs as root", None, cure)
    if said.given("master") and not said.flag("master"):
        message = "master = false changes nothing, Penstock always supervises its workers"
        context.note("master-always", message, said.origin("master"), "")
    if not said.given("die-on-term"):
        cure = "die-on-term = true says the same and silences this line"
        context.note("term-stops", "SIGTERM stops Penstock, where uWSGI reloads", None, cure)
