"""Imports a library without modules that it wants for uses of its own, and that nothing here calls.

inputs: names of modules
outputs: none; stand-ins in sys.modules while the library is imported
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Late(ModuleType):
    """Stands for a module of functions: each of them imports the module when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **kwargs)

        return called


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """A context in which a library is imported without these modules; a function of one, called after all, imports it.

    A module that was imported before is not replaced. Stand-ins are of no use to a library that asks more of a module
    at its import than its functions.
    """
    stand_ins = {name: _Late(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
