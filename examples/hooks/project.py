"""Hooks: functions called when a task starts, succeeds, fails or ends.

Those of the project are called for every operation, before those of the operation.
"""

import time

from pointillist import FlowProject
from pointillist.hooks import TrackOperations


class Project(FlowProject):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # A line in each job's signac_execution_history.log before and after every operation.
        TrackOperations(strict_git=False).install_project_hooks(self)
        self.project_hooks.on_exception.append(note_error)


def note_error(operation, error, *jobs):
    for job in jobs:
        job.doc.setdefault("errors", {})[operation] = str(error)


def note_start(operation, job):
    job.doc.started = time.time()


def note_duration(operation, job):
    job.doc.duration_s = time.time() - job.doc.started


@Project.operation_hooks.on_start(note_start)
@Project.operation_hooks.on_exit(note_duration)
@Project.post.true("quotient")
@Project.operation
def divide(job):
    job.doc.quotient = 1 / job.sp.divisor


@Project.operation_hooks.on_success(lambda operation, job: print(f"{operation} has printed the quotient of {job}"))
@Project.pre.after(divide)
@Project.operation(cmd=True)
def show(job):
    return f"echo 1 / {job.sp.divisor} is {job.doc.quotient}"


if __name__ == "__main__":
    Project.main()
