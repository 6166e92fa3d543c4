"""The table of schedulers. Adding one is one file beside this one and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointillist.cluster.schedulers.base import Scheduler

# In the order in which a machine is searched for one; "local" is everywhere and is never found, only named.
SCHEDULERS = {
    "slurm": "slurm:Slurm",
    "lsf": "lsf:Lsf",
    "pbs": "pbs:Pbs",
    "torque": "pbs:Torque",
    "local": "local:Local",
}


def scheduler_class(name: str) -> type[Scheduler]:
    """Return the adapter called `name`; raise KeyError when there is none."""
    from importlib import import_module

    module, _, attribute = SCHEDULERS[name].partition(":")
    found: type[Scheduler] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def detect() -> str | None:
    """Return the name of the scheduler whose commands are on this machine; None without one."""
    return next((name for name in SCHEDULERS if name != "local" and scheduler_class(name).is_present()), None)
