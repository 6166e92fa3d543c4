"""Hooks: functions called when a task starts and when it ends, and one made of them: ``TrackOperations``."""

from pointillist.definition.hooks import Hooks
from pointillist.execution.tracking import TrackOperations

__all__ = ["Hooks", "TrackOperations"]
