"""Directives: what an operation asks of the machine. Called, it is the older decorator ``@directives(np=4)``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pointillist.definition.directives import DIRECTIVES, Directives, combine, evaluate
from pointillist.definition.marks import with_directives
from pointillist.errors import DirectivesError
from pointillist.later import names_from

__all__ = ["DIRECTIVES", "Directives", "DirectivesError", "combine", "evaluate"]

_OLDER = {"_Directive", "_Directives", "_FORK", "_GET_EXECUTABLE", "_MEMORY", "_NGPU", "_NP", "_NRANKS"}
_OLDER |= {"_OMP_NUM_THREADS", "_PROCESSOR_FRACTION", "_WALLTIME", "_no_aggregation"}

__getattr__ = names_from(__name__, {name: f"pointillist.definition.older_directives:{name}" for name in _OLDER})


class _CallableModule(ModuleType):
    def __call__(self, **directives: Any) -> Callable[..., Any]:
        """Declare directives of an operation; the same as ``operation(directives={...})``."""
        return with_directives(directives)


sys.modules[__name__].__class__ = _CallableModule
