"""The kernel's values: read, what files set them to at boot, set now, and set back. The only place that writes them.

What was there before is put on the disk before anything is set, beside what the files held (`artifact.Manifest`).
"""

from __future__ import annotations

import glob
import json
import os
import resource
from collections.abc import Sequence

from penstock.deploy import service as about
from penstock.deploy.artifact import STATE, Artifact, ArtifactError, Manifest, Tree, write_file
from penstock.deploy.tune import Boot, Need

PROC_SYS = "/proc/sys"
_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
"""sysctl.d(5): of files with the same name the first folder's counts; all are read in the order of their names."""
_LAST = "/etc/sysctl.conf"
"""Read behind all of them."""
_KINDS = ("docker", "kubepods", "containerd", "libpod", "lxc", "nspawn")


def read(names: Sequence[str], place: str = PROC_SYS) -> dict[str, str]:
    """The present values; names that this kernel has not, or shows not, are missing."""
    found = {}
    for name in names:
        try:
            with open(_path(name, place)) as file:
                found[name] = file.read().strip()
        except OSError:
            continue
    return found


def can_set(place: str = PROC_SYS) -> bool:
    """Whether they can be written: by root, and where /proc/sys is not mounted to be read only."""
    return os.access(_path("net.core.somaxconn", place), os.W_OK)


def container(root: str = "/") -> str:
    """What kind of container this is; empty outside of one."""

    def has(path: str) -> bool:
        return os.path.exists(os.path.join(root, path))

    if has("run/.containerenv"):
        return "podman"
    try:
        with open(os.path.join(root, "proc/1/cgroup")) as file:
            groups = file.read()
    except OSError:
        groups = ""
    named = next((kind for kind in _KINDS if kind in groups), "")
    if named:
        return "kubernetes" if named == "kubepods" else named
    try:
        with open(os.path.join(root, "run/systemd/container")) as file:
            return file.read().strip()
    except OSError:
        return "docker" if has(".dockerenv") else ""


def at_boot(own_file: str, root: str = "/") -> dict[str, Boot]:
    """What files set values to when the machine starts, the last of them for each; `own_file` is the one of ours."""
    files: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in glob.glob(os.path.join(glob.escape(root), folder[1:], "*.conf")):
            files.setdefault(os.path.basename(path), f"{folder}/{os.path.basename(path)}")
    ordered = [files[name] for name in sorted(files)]
    own = os.path.basename(own_file)
    found: dict[str, Boot] = {}
    for path in [*ordered, _LAST]:
        is_after = path == _LAST or os.path.basename(path) > own
        for number, name, value in _settings(os.path.join(root, path[1:])):
            found[name] = Boot(value, f"{path}:{number}", is_after)
    return found


def _settings(path: str) -> list[tuple[int, str, str]]:
    try:
        with open(path, errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if equals and line.strip()[0] not in "#;":
            found.append((number, name.strip().lstrip("-").replace("/", "."), value.strip()))
    return found


def open_files_of(pid: int) -> tuple[int, int] | None:
    """The limits (soft, hard) of a process; None if they can not be read."""
    try:
        with open(f"/proc/{pid}/limits") as file:
            line = next((line for line in file if line.startswith("Max open files")), "")
    except OSError:
        return None
    words = line.split()[3:5]
    return (_number(words[0]), _number(words[1])) if len(words) == 2 else None


def own_open_files() -> int:
    """The most files that this process could be allowed."""
    return _number(str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _number(word: str) -> int:
    found = about.number(word)
    return 1 << 30 if found is None else found


# -- setting -----------------------------------------------------------------------------------------------------------


class Tuning:
    """What was set for one instance, so that it can be set back."""

    def __init__(self, tree: Tree, name: str, place: str = PROC_SYS) -> None:
        """Read what is remembered. Raises ArtifactError."""
        self.tree = tree
        self.manifest = Manifest(tree, f"{name}.tune")
        self._place = place
        self._record_path = f"{STATE}/{name}.tune/kernel.json"
        found = tree.look(self._record_path)
        self.record: dict[str, dict[str, str]] = {}
        if found is not None:
            try:
                self.record = {str(key): dict(value) for key, value in json.loads(found.content).items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise ArtifactError(f"{tree.on_disk(self._record_path)} is damaged: {error}; move it away") from error

    def apply(self, found: Sequence[Need], files: Sequence[Artifact]) -> list[str]:
        """Write the files and set the values; lines on what was done. Raises ArtifactError."""
        wanted = {need.key: need for need in found if need.state == "raise" and need.is_sysctl}
        live = wanted if self.tree.is_machine else {}
        before = read(list(live), self._place)
        for key, need in live.items():
            known = self.record.get(key, {})
            self.record[key] = {"before": known.get("before", before.get(key, "")), "set": need.wanted}
        done = []
        if live:
            self._remember()
        for change in self.manifest.put_all(files):
            done.append(f"wrote {self.tree.on_disk(change.artifact.path)} ({', '.join(change.words)})")
        for key, need in live.items():
            self._set(key, need.wanted)
            done.append(f"set {key} = {need.wanted} (was {before.get(key, 'unknown')})")
        return done

    def revert(self) -> tuple[list[str], list[str]]:
        """Set everything back; lines on what was done, and on what stays. Raises ArtifactError."""
        done, stays = [], []
        for key, values in self.record.items():
            now = read([key], self._place).get(key, "")
            if now.split() == values["before"].split():
                continue
            if now.split() == values["set"].split():
                self._set(key, values["before"])
                done.append(f"set {key} = {values['before']} again")
            else:
                stays.append(f"{key} is {now}, which somebody has set since: left as it is")
        paths = list(self.manifest.entries)
        self.tree.on_disk(self._record_path).unlink(missing_ok=True)
        stays += self.manifest.take_away()
        done += [f"took away {self.tree.on_disk(path)}" for path in paths if path not in self.manifest.entries]
        return done, stays

    def _remember(self) -> None:
        place = self.tree.on_disk(self._record_path)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"can not make {place.parent}: {error.strerror}; nothing was set") from error
        write_file(place, (json.dumps(self.record, indent=1) + "\n").encode(), 0o600)

    def _set(self, key: str, value: str) -> None:
        try:
            with open(_path(key, self._place), "w") as file:
                file.write(value)
        except OSError as error:
            raise ArtifactError(
                f"the kernel does not take {key} = {value}: {error.strerror}; what was set before is remembered"
            ) from error


def _path(name: str, place: str) -> str:
    return os.path.join(place, name.replace(".", "/"))
