"""The queue behind the local scheduler: a folder a job, one watching process each.

Owns the folder. ``submit`` makes ``<folder>/<id>/`` and leaves a watcher behind, which waits for holds,
dependencies and cores, runs the script, and alone writes ``state.json``. It holds a lock for as long as it
lives, so anybody can tell a running job from a lost one. Runs as a script, by its path, and knows nothing of
the rest of the package.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

_FINAL = frozenset({"completed", "failed", "cancelled", "timed out", "node failed"})
_GRACE_S = 2.0
_LONGEST_PAUSE_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the queue; return its exit code."""
    try:
        return _command(arguments)
    except OSError as error:
        print(f"The queue's folder or the script cannot be used: {error}", file=sys.stderr)
        return 1


def _command(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="local_queue", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("submit", "query", "cancel", "release", "watch"):
        one = verbs.add_parser(verb, allow_abbrev=False)
        one.add_argument("--folder", required=True)
        if verb == "submit":
            _add_options(one)
            one.add_argument("script")
        else:
            one.add_argument("--all", action="store_true")
            one.add_argument("ids", nargs="*")
    options = parser.parse_args(arguments)
    if options.verb == "submit":
        # The command line comes after the header, and so wins over it.
        given = list(sys.argv[1:] if arguments is None else arguments)
        options = parser.parse_args([given[0], *_header(options.script), *given[1:]])
        return _submit(options)
    if options.verb == "watch":
        _Watcher(options.folder, options.ids[0]).watch()
        return 0
    return {"query": _query, "cancel": _cancel, "release": _release}[options.verb](options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="")
    parser.add_argument("--comment", default="")
    parser.add_argument("--output", default="")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--walltime", type=int)
    parser.add_argument("--signal-before", type=int)
    parser.add_argument("--array", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--after", action="append", default=[])
    parser.add_argument("--keep-if-never", action="store_true")
    parser.add_argument("--hold", action="store_true")


def _header(script: str) -> list[str]:
    words: list[str] = []
    with open(script, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith("#LOCAL "):
                words += shlex.split(line.removeprefix("#LOCAL "))
            elif line.strip() and not line.startswith("#"):
                break
    return words


# ---------------------------------------------------------------------------- commands


def _submit(options: argparse.Namespace) -> int:
    if options.cores > _cores():
        print(f"The script asks for {options.cores} cores; this machine has {_cores()}.", file=sys.stderr)
        return 1
    for one in options.after:
        kind, _, other = one.partition(":")
        if kind not in ("ok", "not_ok", "any", "started", "elementwise") or _read(options.folder, other) is None:
            print(f"There is no such cluster job to wait for: {one}", file=sys.stderr)
            return 1
    job_id, folder = _new_folder(options.folder)
    shutil.copyfile(options.script, os.path.join(folder, "script"))
    job = {key: value for key, value in vars(options).items() if key not in ("verb", "folder", "script")}
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _write(os.path.join(folder, "job.json"), job | {"cwd": os.getcwd()})
    # The lock goes with the file description to the watcher: there is no moment without an owner.
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, "watch", f"--folder={options.folder}", job_id],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[lock],
        start_new_session=True,
    )
    print(job_id)
    return 0


def _query(options: argparse.Namespace) -> int:
    if options.all:
        try:
            names = os.listdir(options.folder)
        except FileNotFoundError:
            names = []
        ids = sorted((name for name in names if name.isdecimal()), key=int)
    else:
        ids = options.ids
    jobs, unknown = [], []
    for one in ids:
        elements = _read(options.folder, one)
        if elements is None:
            unknown.append(one)
        else:
            jobs += elements
    print(json.dumps({"jobs": jobs}))
    if unknown and not options.all:
        print(f"No such cluster job: {' '.join(unknown)}", file=sys.stderr)
        return 1
    return 0


def _cancel(options: argparse.Namespace) -> int:
    return _flag(options, "cancel")


def _release(options: argparse.Namespace) -> int:
    return _flag(options, "release")


def _flag(options: argparse.Namespace, what: str) -> int:
    unknown = []
    for one in options.ids:
        job_id, _, index = one.partition("_")
        if _read(options.folder, job_id) is None:
            unknown.append(one)
            continue
        path = os.path.join(options.folder, job_id, f"{what}-{index}" if index else what)
        with open(path, "w", encoding="utf-8"):
            pass
    if unknown:
        print(f"No such cluster job: {' '.join(unknown)}", file=sys.stderr)
        return 1
    return 0


# ---------------------------------------------------------------------------- the folder


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _new_folder(root: str) -> tuple[str, str]:
    os.makedirs(root, exist_ok=True)
    number = 1 + max((int(name) for name in os.listdir(root) if name.isdecimal()), default=0)
    while True:
        folder = os.path.join(root, str(number))
        try:
            os.mkdir(folder)
        except FileExistsError:
            number += 1
        else:
            return str(number), folder


def _write(path: str, value: object) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def _load(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            loaded: dict[str, Any] = json.load(file)
            return loaded
    except FileNotFoundError:
        return None


def _read(root: str, cluster_id: str) -> list[dict[str, Any]] | None:
    """Return what is true of a job, one entry an element; None when there is no such job."""
    job_id, _, index = cluster_id.partition("_")
    folder = os.path.join(root, job_id)
    job = _load(os.path.join(folder, "job.json")) if job_id.isdecimal() else None
    if job is None:
        return None
    # Asked before the state is read: a watcher that ends in between has written its last word.
    is_watched = _is_locked(os.path.join(folder, "lock"))
    state = _load(os.path.join(folder, "state.json"))
    elements = state["elements"] if state is not None else _first_elements(job)
    found = []
    for key, element in elements.items():
        if index and key != index:
            continue
        if not is_watched and element["state"] not in _FINAL:
            element = element | {"state": "node failed", "reason": "Lost"}
        found.append(
            {
                "id": f"{job_id}_{key}" if key else job_id,
                "name": job["name"],
                "comment": job["comment"],
                "node": os.uname().nodename,
                **element,
            }
        )
    return found


def _first_elements(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    held = {"state": "held", "reason": "Held"} if job["hold"] else {"state": "queued", "reason": ""}
    keys = [""] if job["array"] is None else [str(number) for number in range(job["array"])]
    return {key: held | {"exit_code": None, "exit_signal": None} for key in keys}


def _is_locked(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


# ---------------------------------------------------------------------------- the watcher


class _Run:
    """One element's process."""

    def __init__(self, process: subprocess.Popen[bytes], cores: list[int], job: dict[str, Any]) -> None:
        self.process, self.cores = process, cores
        now = time.monotonic()
        limit, before = job["walltime"], job["signal_before"]
        self.ends_at = None if limit is None else now + limit
        self.warns_at = None if self.ends_at is None or before is None else max(now, self.ends_at - before)
        self.kill_at: float | None = None
        self.verdict: tuple[str, str] | None = None

    def signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, state: str, reason: str) -> None:
        if self.verdict is None:
            self.verdict = (state, reason)
            self.kill_at = time.monotonic() + _GRACE_S
            self.signal_group(signal.SIGTERM)


class _Watcher:
    """Bring one job to its end."""

    def __init__(self, root: str, job_id: str) -> None:
        self.root, self.job_id = root, job_id
        self.folder = os.path.join(root, job_id)
        job = _load(os.path.join(self.folder, "job.json"))
        assert job is not None
        self.job = job
        self.elements = _first_elements(job)
        self.runs: dict[str, _Run] = {}

    def watch(self) -> None:
        pause, written = 0.01, ""
        while True:
            self._step()
            now = json.dumps(self.elements)
            if now != written:
                _write(os.path.join(self.folder, "state.json"), {"elements": self.elements})
                written, pause = now, 0.01
            if all(element["state"] in _FINAL for element in self.elements.values()):
                return
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def _step(self) -> None:
        flags = set(os.listdir(self.folder))
        for key, run in list(self.runs.items()):
            self._attend(key, run)
        for key, element in self.elements.items():
            if "cancel" in flags or f"cancel-{key}" in flags:
                if key in self.runs:
                    self.runs[key].stop("cancelled", "Cancelled")
                elif element["state"] not in _FINAL:
                    element.update(state="cancelled", reason="Cancelled")
            if element["state"] in ("queued", "held"):
                self._try_to_start(key, element, flags)

    def _attend(self, key: str, run: _Run) -> None:
        now, code = time.monotonic(), run.process.poll()
        if code is None:
            if run.warns_at is not None and now >= run.warns_at:
                run.process.send_signal(signal.SIGUSR1)
                run.warns_at = None
            if run.ends_at is not None and now >= run.ends_at:
                run.stop("timed out", "TimeLimit")
            if run.kill_at is not None and now >= run.kill_at:
                run.signal_group(signal.SIGKILL)
            return
        run.signal_group(signal.SIGKILL)
        for core in run.cores:
            os.close(core)
        del self.runs[key]
        if run.verdict is not None:
            state, reason = run.verdict
        elif code == 0:
            state, reason = "completed", ""
        else:
            state, reason = "failed", "NonZeroExitCode" if code > 0 else "Signal"
        ending = {"exit_code": code} if code >= 0 else {"exit_signal": -code}
        self.elements[key].update(state=state, reason=reason, **ending)

    def _try_to_start(self, key: str, element: dict[str, Any], flags: set[str]) -> None:
        if self.job["hold"] and "release" not in flags and f"release-{key}" not in flags:
            element.update(state="held", reason="Held")
            return
        element.update(state="queued")
        verdicts = {_dependency(self.root, one, key) for one in self.job["after"]}
        if "never" in verdicts:
            element["reason"] = "DependencyNeverSatisfied"
            if not self.job["keep_if_never"]:
                element["state"] = "cancelled"
        elif "wait" in verdicts:
            element["reason"] = "Dependency"
        elif self.job["limit"] is not None and len(self.runs) >= self.job["limit"]:
            element["reason"] = "ArrayLimit"
        elif (cores := _take_cores(self.root, self.job["cores"])) is None:
            element["reason"] = "Cores"
        else:
            self._start(key, element, cores)

    def _start(self, key: str, element: dict[str, Any], cores: list[int]) -> None:
        script = os.path.join(self.folder, "script")
        own = {"POINTILLIST_JOB_ID": f"{self.job_id}_{key}" if key else self.job_id}
        if key:
            own |= {"POINTILLIST_ARRAY_ID": self.job_id, "POINTILLIST_ARRAY_INDEX": key}
        try:
            with open(self._output(key), "wb") as output:
                process = subprocess.Popen(
                    [*_interpreter(script), script],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.job["cwd"],
                    env=os.environ | own,
                    start_new_session=True,
                )
        except OSError:
            for core in cores:
                os.close(core)
            element.update(state="failed", reason="LaunchFailed")
            return
        self.runs[key] = _Run(process, cores, self.job)
        element.update(state="running", reason="")

    def _output(self, key: str) -> str:
        if not self.job["output"]:
            return os.path.join(self.folder, f"output-{key}.txt" if key else "output.txt")
        parts = self.job["output"].split("%%")
        return "%".join(part.replace("%j", self.job_id).replace("%a", key) for part in parts)


def _interpreter(script: str) -> list[str]:
    with open(script, "rb") as file:
        first = file.readline()
    if not first.startswith(b"#!"):
        return ["/bin/sh"]
    return [os.fsdecode(word) for word in first[2:].strip().split(None, 1)]


def _dependency(root: str, after: str, key: str) -> str:
    """Say whether one dependency of one element is met: "met", "wait" or "never"."""
    kind, _, other = after.partition(":")
    if kind == "elementwise":
        kind, other = "ok", f"{other}_{key}"
    elements = _read(root, other)
    if not elements:
        return "never"
    states = [element["state"] for element in elements]
    if kind == "started":
        begun = [state == "running" or state in _FINAL for state in states]
        return "met" if all(begun) else "wait"
    if kind == "ok" and any(state in _FINAL and state != "completed" for state in states):
        return "never"
    if not all(state in _FINAL for state in states):
        return "wait"
    if kind == "not_ok":
        return "never" if all(state == "completed" for state in states) else "met"
    return "met"


def _take_cores(root: str, count: int) -> list[int] | None:
    """Lock `count` cores, all or none; they are free again when the files are closed or the holder dies."""
    folder = os.path.join(root, "cores")
    os.makedirs(folder, exist_ok=True)
    taken: list[int] = []
    with open(os.path.join(folder, "lock"), "wb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for number in range(_cores()):
            core = os.open(os.path.join(folder, str(number)), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(core, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(core)
                continue
            taken.append(core)
            if len(taken) == count:
                return taken
    for core in taken:
        os.close(core)
    return None


if __name__ == "__main__":
    sys.exit(main())
