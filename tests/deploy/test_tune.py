"""What kernel and limits need: as values, against folders that stand for a machine, and on the real kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.deploy import kernel, present, tune
from penstock.deploy.artifact import Tree
from penstock.deploy.service import Service
from penstock.deploy.tune import Boot, Host, Need, WebServer
from penstock.values import replace
from tests.e2e.harness import ROOT, clean_environment
from tests.support.plans import plan_of

Make = Callable[[str], Service]

GOOD = {
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
    "fs.nr_open": "1048576",
    "fs.file-max": "9223372036854775807",
    "net.core.wmem_max": "4194304",
    "net.core.rmem_max": "4194304",
    "net.unix.max_dgram_qlen": "512",
    "net.ipv4.tcp_fastopen": "3",
    "net.ipv4.ip_local_port_range": "1024\t65535",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.ip_local_reserved_ports": "8000-9000",
}
HOST = Host(
    sysctls=GOOD, boot={}, open_files=1 << 20, open_files_place="what is started here", has_systemd=True,
    web_server=WebServer(768, 4096, "the nginx that runs", is_said=False), container="", can_set=True,
)  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a service of a configuration."""

    def service(text: str) -> Service:
        plan = plan_of(tmp_path, text)
        return Service(name="shop", command=("/bin/penstock",), folder="/srv/shop", plan=plan, user="shop")

    return service


def by_key(found: tuple[Need, ...]) -> dict[str, Need]:
    """The needs by their names."""
    return {need.key: need for need in found}


def with_value(key: str, value: str) -> Host:
    """A good host but for one value."""
    return replace(HOST, sysctls={**GOOD, key: value})


EVERYTHING = (
    "http = 127.0.0.1:8000\nhttp = :8001\nlisten = 2048\nsocket-sndbuf = 262144\nsocket-rcvbuf = 262144\n"
    "tcp-fastopen = 5\nlogger = syslog:shop\n"
)


def test_a_good_machine_needs_nothing(make: Make) -> None:
    found = tune.needs(make(EVERYTHING), HOST)
    assert {need.key for need in found} == {*tune.NAMES, "nofile", "nofile of nginx"}
    assert {need.state for need in found} == {"good"} and tune.artifacts(found, make(EVERYTHING)) == ()
    # Nothing is lowered either.
    assert all(need.wanted.split() == need.present.split() for need in found)


@pytest.mark.parametrize(
    ("key", "present", "wanted"),
    [
        ("net.core.somaxconn", "128", "2048"),
        ("net.ipv4.tcp_max_syn_backlog", "128", "2048"),
        ("fs.nr_open", "1024", "65536"),
        ("net.core.wmem_max", "212992", "262144"),
        ("net.core.rmem_max", "212992", "262144"),
        ("net.unix.max_dgram_qlen", "10", "512"),
        ("net.ipv4.tcp_fastopen", "1", "3"),
        ("net.ipv4.ip_local_port_range", "32768\t60999", "10240 65535"),
        ("net.ipv4.ip_local_port_range", "1024\t60999", "1024 65535"),
        ("net.ipv4.tcp_tw_reuse", "0", "2"),
        ("net.ipv4.ip_local_reserved_ports", "", "8000,8001"),
        ("net.ipv4.ip_local_reserved_ports", "7000-8000,9", "7000-8000,9,8001"),
    ],
)
def test_what_is_too_small_is_raised_by_a_file(key: str, present: str, wanted: str, make: Make) -> None:
    found = tune.needs(make(EVERYTHING), with_value(key, present))
    need = by_key(found)[key]
    assert (need.state, need.wanted, need.line) == ("raise", wanted, f"{key} = {wanted}") and need.reason
    assert [each.key for each in found if each.state != "good"] == [key]
    (artifact,) = tune.artifacts(found, make(EVERYTHING))
    assert artifact.path == "/etc/sysctl.d/60-penstock-shop.conf" and f"\n{key} = {wanted}\n" in artifact.text


def test_what_the_kernel_does_not_have_is_not_wanted(make: Make) -> None:
    assert "fs.nr_open" not in by_key(tune.needs(make(EVERYTHING), replace(HOST, sysctls={})))


def test_only_what_the_configuration_uses_is_looked_at(make: Make) -> None:
    found = by_key(tune.needs(make("http-socket = /run/shop/x\n"), replace(HOST, web_server=None)))
    assert set(found) == {"net.core.somaxconn", "fs.nr_open", "fs.file-max", "nofile"}


def test_a_value_that_falls_at_the_next_start_is_to_be_done(make: Make) -> None:
    boot = Boot("128", "/etc/sysctl.d/10-old.conf:3", is_after_ours=False)
    need = by_key(tune.needs(make(EVERYTHING), replace(HOST, boot={"net.core.somaxconn": boot})))["net.core.somaxconn"]
    assert (need.state, need.wanted) == ("raise", "65535")
    late = replace(boot, place="/etc/sysctl.conf:3", is_after_ours=True)
    need = by_key(tune.needs(make(EVERYTHING), replace(HOST, boot={"net.core.somaxconn": late})))["net.core.somaxconn"]
    assert need.state == "by-hand" and need.cure.startswith("/etc/sysctl.conf:3 sets 128")


def test_open_files_are_an_override_or_a_limit_of_the_user(make: Make) -> None:
    service, few = make(EVERYTHING), replace(HOST, open_files=1024)
    need = by_key(tune.needs(service, few))["nofile"]
    assert (need.state, need.wanted, need.line) == ("raise", "65536", "LimitNOFILE=65536")
    (override,) = tune.artifacts([need], service)
    assert override.path == "/etc/systemd/system/shop.service.d/60-penstock.conf"
    assert override.text.endswith("[Service]\nLimitNOFILE=65536\n")
    (limits,) = tune.artifacts(tune.needs(service, replace(few, has_systemd=False)), service)
    assert limits.path == "/etc/security/limits.d/60-penstock-shop.conf"
    assert limits.text.endswith("shop soft nofile 65536\nshop hard nofile 65536\n")


def test_nginx_needs_two_files_for_each_connection(make: Make) -> None:
    service = make(EVERYTHING)
    busy = replace(HOST, web_server=WebServer(9000, 1024, "what services get", is_said=False))
    need = by_key(tune.needs(service, busy))["nofile of nginx"]
    assert (need.state, need.wanted) == ("raise", "18000")
    assert need.file == "/etc/systemd/system/nginx.service.d/60-penstock-shop.conf"
    said = replace(HOST, web_server=WebServer(9000, 1024, "/etc/nginx/nginx.conf:3", is_said=True))
    need = by_key(tune.needs(service, said))["nofile of nginx"]
    assert (need.state, need.file) == ("by-hand", "")
    assert need.cure == "worker_rlimit_nofile 18000; at /etc/nginx/nginx.conf:3"


def test_in_a_container_the_runtime_is_told(make: Make) -> None:
    inside = replace(
        HOST, sysctls={**GOOD, "net.core.somaxconn": "128", "net.ipv4.ip_local_port_range": "32768 60999",
                       "fs.nr_open": "1024"},
        open_files=1024, container="docker", can_set=False,
    )  # fmt: skip
    found = tune.needs(make(EVERYTHING), inside)
    needs = by_key(found)
    assert {need.state for need in found} == {"good", "by-hand"} and tune.artifacts(found, make(EVERYTHING)) == ()
    outside = {key: need.outside or {} for key, need in needs.items()}
    assert outside["net.core.somaxconn"]["docker"] == "docker run --sysctl net.core.somaxconn=2048"
    assert '{name: net.core.somaxconn, value: "2048"}' in outside["net.core.somaxconn"]["kubernetes"]
    assert "--allowed-unsafe-sysctls=net.core.somaxconn" in outside["net.core.somaxconn"]["kubernetes"]
    ports = outside["net.ipv4.ip_local_port_range"]
    assert ports["docker"] == 'docker run --sysctl net.ipv4.ip_local_port_range="10240 65535"'
    assert "unsafe" not in ports["kubernetes"]
    assert outside["fs.nr_open"]["docker"] == "on the host: sysctl -w fs.nr_open=65536"
    assert outside["nofile"]["docker"] == "docker run --ulimit nofile=65536:65536"
    # A container that may write to its kernel is told like a machine.
    able = tune.needs(make(EVERYTHING), replace(inside, can_set=True))
    assert by_key(able)["net.core.somaxconn"].state == "raise"


def test_the_real_kernel_is_read() -> None:
    found = kernel.read(["net.core.somaxconn", "no.such.name"])
    assert found == {"net.core.somaxconn": Path("/proc/sys/net/core/somaxconn").read_text().strip()}
    limit = kernel.open_files_of(os.getpid())
    assert limit is not None and limit[1] == kernel.own_open_files()
    assert kernel.open_files_of(2**30) is None


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, ""),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/1/cgroup": "0::/kubepods/besteffort/x\n"}, "kubernetes"),
        ({"proc/1/cgroup": "0::/lxc/x\n"}, "lxc"),
        ({"proc/1/cgroup": "0::/init.scope\n", "run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
    ],
)
def test_containers_are_recognised(files: dict[str, str], kind: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert kernel.container(str(tmp_path)) == kind


def test_files_that_set_values_at_boot_are_read_in_their_order(tmp_path: Path) -> None:
    for name, text in {
        "usr/lib/sysctl.d/50-default.conf": "# a comment\nnet.core.somaxconn = 1\nfs.nr_open=5\n",
        "usr/lib/sysctl.d/70-masked.conf": "fs.nr_open = 6\n",
        "etc/sysctl.d/70-masked.conf": "-net/core/somaxconn = 2\nno equals sign\n",
        "etc/sysctl.conf": ";x\nfs.file-max = 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert kernel.at_boot("/etc/sysctl.d/60-penstock-shop.conf", str(tmp_path)) == {
        "net.core.somaxconn": Boot("2", "/etc/sysctl.d/70-masked.conf:1", is_after_ours=True),
        "fs.nr_open": Boot("5", "/usr/lib/sysctl.d/50-default.conf:3", is_after_ours=False),
        "fs.file-max": Boot("3", "/etc/sysctl.conf:2", is_after_ours=True),
    }


def test_a_later_change_keeps_what_the_file_said_before(make: Make) -> None:
    service = make(EVERYTHING)
    own = {"net.core.somaxconn": Boot("65535", "/etc/sysctl.d/60-penstock-shop.conf:3", is_after_ours=False)}
    host = replace(with_value("fs.nr_open", "1024"), boot=own)
    (artifact,) = tune.artifacts(tune.needs(service, host), service)
    assert "net.core.somaxconn = 65535\n" in artifact.text and "fs.nr_open = 65536\n" in artifact.text


def sysctl_folder(folder: Path, **values: str) -> Path:
    """A folder that stands for /proc/sys."""
    for name, value in values.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return folder


def need(key: str, wanted: str) -> Need:
    """Something that is to be raised."""
    return Need(key=key, present="", wanted=wanted, state="raise", reason="a test", file="", line="")


class Machine(Tree):
    """A folder that counts as the machine itself."""

    @property
    def is_machine(self) -> bool:
        return True


def test_values_are_set_back_unless_somebody_has_changed_them(tmp_path: Path) -> None:
    proc = sysctl_folder(tmp_path / "sys", net__core__somaxconn="128", fs__nr_open="1024")
    (tmp_path / "root").mkdir()
    tree = Machine(str(tmp_path / "root"))
    kernel.Tuning(tree, "shop", str(proc)).apply([need("net.core.somaxconn", "512"), need("fs.nr_open", "2048")], [])
    assert (proc / "net/core/somaxconn").read_text() == "512"
    kernel.Tuning(tree, "shop", str(proc)).apply([need("net.core.somaxconn", "1024")], [])
    (proc / "fs/nr_open").write_text("4096")
    done, stays = kernel.Tuning(tree, "shop", str(proc)).revert()
    assert done == ["set net.core.somaxconn = 128 again"] and len(stays) == 1 and "fs.nr_open is 4096" in stays[0]
    assert (proc / "net/core/somaxconn").read_text() == "128" and not (tmp_path / "root/var/lib/penstock").exists()


SCRIPT = """
set -e
mount --make-rprivate /
for place in /etc/sysctl.d /etc/security/limits.d /var/lib /etc/systemd; do mount -t tmpfs tmpfs $place; done
tune() { "$PYTHON" -m penstock tune shop.ini --user root "$@" || echo "status $?"; }
echo 128 > /proc/sys/net/core/somaxconn
tune | grep somaxconn
tune --apply | grep somaxconn
echo "now $(cat /proc/sys/net/core/somaxconn)"
grep somaxconn /etc/sysctl.d/60-penstock-shop.conf
tune --apply | grep -c "^set" || true
tune --revert | grep somaxconn
echo "now $(cat /proc/sys/net/core/somaxconn)"
ls -A /etc/sysctl.d /etc/security/limits.d /var/lib
"""


def test_a_real_value_is_set_and_set_back_in_a_network_of_its_own(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-nm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can make namespaces")
    (tmp_path / "app.py").write_text("def application(env, start_response): ...\n")
    (tmp_path / "shop.ini").write_text("[uwsgi]\nmodule = app\nhttp-socket = /run/shop/x\nlisten = 3000\n")
    done = subprocess.run(
        ["unshare", "-nm", "sh", "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**clean_environment(), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "net.core.somaxconn  128 -> 3000",
        "    /etc/sysctl.d/60-penstock-shop.conf: net.core.somaxconn = 3000",
        "set net.core.somaxconn = 3000 (was 128)",
        "now 3000",
        "net.core.somaxconn = 3000",
    ], done.stdout + done.stderr
    assert lines[5:8] == ["0", "set net.core.somaxconn = 128 again", "now 128"]
    # Of the folders nothing is left but their names.
    assert all(not line or re.fullmatch(r"/\S+:", line) for line in lines[8:])


def test_limits_are_read_where_the_next_start_gets_them_from(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "root"
    service = make("http = :8000\n")
    for name, text in {
        "etc/security/limits.conf": "* hard nofile 100\nroot hard nofile 7\n",
        "etc/security/limits.d/50-x.conf": "shop - nofile 2048 # more\nann hard nofile 9\nshop hard nproc 1\n",
        "etc/nginx/nginx.conf": "events { worker_connections 100; }\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    found = present.look(service, str(root))
    assert (found.open_files, found.open_files_place) == (2048, "/etc/security/limits.d/50-x.conf")
    assert found.web_server == WebServer(100, 1024, "what services get", is_said=False)
    for name, text in {
        "shop.service": "[Service]\nLimitNOFILE=4096\n",
        "shop.service.d/60.conf": "[Service]\nLimitNOFILE=1024:8192\n",
        "nginx.service.d/60.conf": "[Service]\nLimitNOFILE=infinity\n",
    }.items():
        path = root / "etc/systemd/system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = present.look(service, str(root))
    assert (found.open_files, found.open_files_place) == (8192, "/etc/systemd/system/shop.service.d/60.conf")
    assert found.web_server is not None and found.web_server.open_files > 1 << 20


def test_what_was_applied_is_good_from_then_on(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    service = make("http = :8000\nmax-fd = 1000000\n")
    needs = tune.needs(service, present.look(service, str(root)))
    assert by_key(needs)["nofile"].state == "raise"
    kernel.Tuning(Tree(str(root)), "shop").apply(needs, tune.artifacts(needs, service))
    assert by_key(tune.needs(service, present.look(service, str(root))))["nofile"].state == "good"


CONTAINER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
touch /run/.containerenv
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
"$PYTHON" -m penstock tune shop.ini || echo "status $?"
"$PYTHON" -m penstock tune shop.ini --apply >/dev/null || echo "status $?"
ls -A /etc/sysctl.d | grep penstock || echo nothing written
"""


def test_where_the_kernel_can_not_be_written_the_container_is_told_from_outside(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-nm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can make namespaces")
    (tmp_path / "app.py").write_text("def application(env, start_response): ...\n")
    (tmp_path / "shop.ini").write_text("[uwsgi]\nmodule = app\nhttp-socket = /run/shop/x\nlisten = 60000\n")
    done = subprocess.run(
        ["unshare", "-nm", "sh", "-c", CONTAINER], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**clean_environment(), "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("This is a container (podman)"), done.stderr
    assert "docker: docker run --sysctl net.core.somaxconn=60000\n" in done.stdout
    assert done.stdout.splitlines()[-3:] == ["status 1", "status 1", "nothing written"]


WORDS = (
    *tune.NAMES, "=", " ", "\n", "-", "²", "٣", "9" * 5000, "128", "1 2", "#", "shop", "hard", "nofile", "LimitNOFILE",
    "infinity", ":", "\x00", "\udcff", "1-9,", "worker_connections",
)  # fmt: skip
ODD = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=ODD, value=ODD)
def test_whatever_stands_in_files_of_the_machine_is_survived(text: str, value: str, make: Make, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("etc/sysctl.conf", "etc/security/limits.conf", "etc/systemd/system/shop.service"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    service = make(EVERYTHING)
    found = replace(present.look(service, str(root)), sysctls=dict.fromkeys(tune.NAMES, value))
    for has_systemd in (True, False):
        needs = tune.needs(service, replace(found, has_systemd=has_systemd))
        assert {need.state for need in needs} <= {"good", "raise", "by-hand"}
        assert all(each.path.startswith("/etc/") for each in tune.artifacts(needs, service))
