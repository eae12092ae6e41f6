"""Fast paths that use private names of a library: one switch for all, and a check of the names.

Each library has one home for its private names. The home lists them in a `Home`. At its first use the home compares the
list with the installed library. Where something is missing, the public way is taken, and one line says so.
"""

from __future__ import annotations

import dis
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import Any

SWITCH = "GRADUS_FAST"
"""Environment variable. `0` turns all fast paths off: every library is used by its public names where it has any."""


def enabled() -> bool:
    """Whether fast paths may be taken in this process."""
    return os.environ.get(SWITCH, "1") != "0"


class Home:
    """The private names of a library that one part of this project uses.

    Attributes:
        library: what messages call the library.
        versions: the tested version of each distribution. Builds of it (`0.6.4.1` of `0.6.4`) count as tested.
        names: attributes by owner, `module` or `module:Class`. An attribute that a method sets counts.
        kernels: argument names of Warp kernels, in order, by `module:kernel`.
    """

    def __init__(
        self,
        library: str,
        versions: Mapping[str, str],
        names: Mapping[str, Iterable[str]],
        kernels: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Imports nothing yet."""
        self.library, self.versions = library, dict(versions)
        self.names = {owner: tuple(attributes) for owner, attributes in names.items()}
        self.kernels = {name: tuple(arguments) for name, arguments in (kernels or {}).items()}
        self._fit: bool | None = None

    def usable(self) -> bool:
        """Whether the fast paths of this home can be taken. Says why not once, unless the switch is off."""
        if not enabled():
            return False
        if self._fit is None:
            why = self.untested() or next(iter(self.missing()), None)
            self._fit = why is None
            if why:
                print(f"{self.library}: {why}; the slower public way is taken", file=sys.stderr, flush=True)
        return self._fit

    def demand(self) -> None:
        """Where a library has no public way: raise `RuntimeError`, in one line, unless all names are there."""
        if self._fit is None:
            missing = self.missing()
            if missing:
                tested = ", ".join(f"{name} {tested}" for name, tested in self.versions.items())
                raise RuntimeError(f"{self.library}: {missing[0]}; tested with {tested}")
            self._fit = True

    def untested(self) -> str | None:
        """A distribution whose installed version is not the tested one, or None."""
        for name, tested in self.versions.items():
            try:
                installed = version(name)
            except PackageNotFoundError:
                return f"{name} is not installed"
            if installed != tested and not installed.startswith(f"{tested}."):
                return f"{name} {installed} is not the tested version {tested}"
        return None

    def missing(self) -> list[str]:
        """What of the installed library is not as the lists say, each in words."""
        found = [
            f"{self._installed()} has no {owner}.{attribute}"
            for owner, attributes in self.names.items()
            for attribute in attributes
            if not _has(_find(owner), attribute)
        ]
        for name, expected in self.kernels.items():
            kernel = _find(name)
            if kernel is None or arguments(kernel) != expected:
                found.append(f"{self._installed()} has no kernel {name} with the arguments {', '.join(expected)}")
        return found

    def _installed(self) -> str:
        try:
            return ", ".join(f"{name} {version(name)}" for name in self.versions)
        except PackageNotFoundError as error:
            return str(error)


def arguments(kernel: Any) -> tuple[str, ...]:
    """Names of a Warp kernel's arguments, in order."""
    return tuple(argument.label for argument in kernel.adj.args)


def _find(path: str) -> Any:
    """What `module` or `module:name` names, or None."""
    module, _, name = path.partition(":")
    try:
        found = import_module(module)
        return attrgetter(name)(found) if name else found
    except (AttributeError, ImportError):
        return None


def _has(owner: Any, attribute: str) -> bool:
    if owner is None:
        return False
    if hasattr(owner, attribute):
        return True
    return isinstance(owner, type) and any(attribute in _set_by(kind) for kind in owner.__mro__)


@cache
def _set_by(kind: type) -> frozenset[str]:
    """Attributes that the class declares or that its own methods set."""
    found = set(inspect.get_annotations(kind))
    for member in vars(kind).values():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if code := getattr(function, "__code__", None):
            found.update(i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR")
    return frozenset(found)
