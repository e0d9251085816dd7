"""First code of a generation: the master runs this file with the app's own interpreter, its channel on descriptor 3.
A script that runs instead of serving (`pyrun`) begins here too, with its description on that descriptor.

It makes the one package `penstock` importable without putting the directory around it on `sys.path`: whatever else is
installed beside Penstock must neither shadow nor leak into what the app imports. Then it checks that there is an engine
for this interpreter, and runs the generation. Until that check has passed this may be any Python 3, however old, so the
file keeps to syntax that Python 3.6 reads, and to the standard library.
"""

import importlib.machinery
import importlib.util
import json
import os
import socket
import sys

CHANNEL_FD = 3
SCRIPT_WORD = "script"
EXIT_NO_APP = 22


class PackageFinder:
    """Finds exactly one package, `penstock`, in a directory that is not on `sys.path`.

    It stands last in `sys.meta_path`, so it can never answer for a name that the app means.
    """

    def __init__(self, directory: str) -> None:
        """Serve the package whose files are in `directory`."""
        self.directory = directory

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "importlib.machinery.ModuleSpec | None":
        """Answer the import system (PEP 451)."""
        if name != "penstock":
            return None
        return importlib.util.spec_from_file_location(
            name, os.path.join(self.directory, "__init__.py"), submodule_search_locations=[self.directory]
        )


def take_package(directory: str) -> None:
    """Import `penstock` from `directory`, whatever other Penstock the app's environment may hold.

    Master and generation speak a private protocol: both ends must come from the same installation.
    """
    finder = PackageFinder(directory)
    sys.meta_path.append(finder)
    spec = finder.find_spec("penstock")
    if spec is None or spec.loader is None:
        raise ImportError("no package penstock in " + directory)
    module = importlib.util.module_from_spec(spec)
    sys.modules["penstock"] = module
    spec.loader.exec_module(module)


def missing_engine(directory: str) -> "str | None":
    """Say why this interpreter has no engine in `directory`, or return None if it has one."""
    if importlib.machinery.PathFinder.find_spec("penstock._engine", [directory]) is not None:
        return None
    version = sys.version_info
    mine = f"{sys.implementation.name} {version[0]}.{version[1]}"
    names = [name for name in os.listdir(directory) if name.startswith("_engine.") and name.endswith(".so")]
    built_for = ", ".join(sorted(engine_version(name) for name in names)) or "no interpreter"
    return (
        f"the app's interpreter {sys.executable} is {mine}, and this Penstock ({directory}) has an engine for "
        f"{built_for}\n"
        f"cure: install Penstock with that interpreter ({sys.executable} -m pip install penstock-*.whl) and start "
        "the one it installs, or make the virtual environment (home) with the Python that Penstock runs on"
    )


def engine_version(file_name: str) -> str:
    """Turn `_engine.cpython-311-x86_64-linux-gnu.so` into `cpython 3.11`."""
    implementation, _, rest = file_name.split(".")[1].partition("-")
    digits = rest.split("-")[0]
    return f"{implementation} {digits[:1]}.{digits[1:]}" if digits else f"{implementation} of any version"


def report(reason: str, text: str) -> None:
    """Tell the log and the master that this generation can not even begin."""
    sys.stderr.write((text or reason).rstrip("\n") + "\n")
    sys.stderr.flush()
    event = {"event": "import-failed", "traceback": text[-9000:], "exit_code": None, "reason": reason}
    channel = socket.socket(fileno=CHANNEL_FD)
    try:
        channel.send(json.dumps(event).encode("ascii"))
    except OSError:
        pass  # The master is gone: nobody is left to be told.


def run_script(directory: str, reason: "str | None") -> None:
    """Run what CHANNEL_FD describes instead of a generation."""
    if reason is not None:
        sys.stderr.write(reason + "\n")
        sys.exit(EXIT_NO_APP)
    take_package(directory)
    from penstock.worker import script

    script.run(CHANNEL_FD)


def main() -> None:
    """Become the generation, or end with a report."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    directory = os.path.dirname(here)
    reason = missing_engine(directory)
    if sys.argv[1:] == [SCRIPT_WORD]:
        run_script(directory, reason)
        return
    if reason is not None:
        report(reason, "")
        os._exit(EXIT_NO_APP)
    try:
        take_package(directory)
        from penstock.worker import signals

        signals.ignore()
        from penstock.worker import generation, worker
        from penstock.worker.channel import Channel

        outcome = generation.serve(Channel(CHANNEL_FD))
    except Exception as error:
        import traceback

        report(f"Penstock itself failed under {sys.executable}: {error!r}", traceback.format_exc())
        os._exit(EXIT_NO_APP)
    # A forked worker comes back here too, so that its stack dumps do not begin inside the generation's loop.
    if isinstance(outcome, int):
        generation.end(outcome)
    worker.run(outcome)


if __name__ == "__main__":
    main()
