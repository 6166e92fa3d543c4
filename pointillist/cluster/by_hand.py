"""Scripts that a program hands to a scheduler by itself: they belong to no project, and nothing keeps them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.requests import After, Dependency, Request


def submit_text(scheduler: Scheduler, text: str, flags: Sequence[str], options: Mapping[str, Any]) -> None:
    """Submit the text of a script, or print it.

    Parameters
    ----------
    flags
        Words for the scheduler's command.
    options
        ``_id`` (a name), ``hold``, ``after`` (the id of a cluster job) and ``pretend``; others mean nothing here.
    """
    after = options.get("after")
    request = Request(
        name=str(options.get("_id") or "script"),
        hold=bool(options.get("hold")),
        after=(Dependency(After.OK, str(after)),) if after else (),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "script.sh")
        if options.get("pretend"):
            print(f"{text}\n\n# Submit command: {scheduler.submit_line(path, request, flags)}")
            return
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        scheduler.submit(path, request, flags=flags)
