"""Programs that tests need, put on a Debian or Ubuntu machine by apt where that can be done."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence


class ProgramsMissing(RuntimeError):
    """Programs are not here and cannot be put here; the message says why."""


def find_or_install(programs: Sequence[str], packages: Sequence[str], *, path: str | None = None) -> None:
    """Make sure that programs are on this machine; raise `ProgramsMissing` otherwise.

    Parameters
    ----------
    path
        Where to look, as in the variable PATH; None is PATH itself.
    """

    def missing() -> str:
        return ", ".join(name for name in programs if shutil.which(name, path=path) is None)

    if not missing():
        return
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise ProgramsMissing(
            f"no {missing()} here; installing needs root on Debian or Ubuntu (apt-get install {' '.join(packages)})"
        )
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *packages]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(os.path.join(tempfile.gettempdir(), "pointillist-tests-apt.lock"), "w") as lock:
        # Tests run beside each other, and apt-get does not wait for another that reads the lists.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["apt-get", "update"], install):
            done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode != 0 and command is install:
                raise ProgramsMissing(f"apt-get install failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    if missing():
        raise ProgramsMissing(f"no {missing()} even after installing {' '.join(packages)}")
