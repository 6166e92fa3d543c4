"""Names of a module that live elsewhere and are loaded when somebody asks for them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names_from(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module.

    Parameters
    ----------
    module
        The name of the module.
    places
        Name -> where it lives: ``package.module:attribute``, or ``package.module`` for the module itself.
    """

    def __getattr__(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = places[name].partition(":")
        found = importlib.import_module(home)
        return getattr(found, attribute) if attribute else found

    return __getattr__
