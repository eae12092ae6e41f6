"""`Registry`: objects by name, those of Gradus and those that other packages add through entry points.

A package adds an object by an entry point of the registry's group, in its `pyproject.toml`:

    [project.entry-points."gradus.tasks"]
    my-task = "my_package.my_task:SPEC"

Nothing of a package is imported before its object is asked for by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a name looks like: names are parts of paths."""

UNPACKAGED = "unpackaged"
"""Stands for the distribution of what `Registry.register` added, which no installed package names."""


class RegistryError(ValueError):
    """An installed package adds something that cannot be used. The message is one line and names the package."""


class Origin(NamedTuple):
    """The distribution that something comes from."""

    distribution: str
    version: str

    def __str__(self) -> str:
        """For messages: `my-package 1.0`."""
        return f"{self.distribution} {self.version}".rstrip()


def instance_of(kind: type) -> Callable[[str, Any], str | None]:
    """For `Registry`'s `wrong`: every object has to be a `kind`."""
    return lambda name, found: (
        None if isinstance(found, kind) else f"is a {type(found).__name__}, not a {kind.__name__}"
    )


class Registry[T]:
    """Objects of one kind by name.

    Names are unique: one that Gradus and a package have, or two packages, is an error as soon as names are looked up.
    """

    def __init__(
        self, group: str, noun: str, builtin: Mapping[str, T | str], wrong: Callable[[str, Any], str | None]
    ) -> None:
        """Look up nothing yet.

        Args:
            group: of the entry points.
            noun: what one of the objects is called in messages.
            builtin: Gradus's own objects by name, each itself or as `module:attribute`, which is imported when needed.
            wrong: called with a name and the object from outside that has it; returns why the object cannot be used,
                as the end of a sentence about it, or None.
        """
        self._group, self._noun, self._builtin, self._wrong = group, noun, dict(builtin), wrong
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def builtin_names(self) -> list[str]:
        """Names of Gradus's own objects, in their order."""
        return list(self._builtin)

    def names(self) -> list[str]:
        """All names: Gradus's own, then those registered, then those of packages by alphabet.

        Raises `RegistryError` for a name of a package that is taken, or that cannot be a name.
        """
        return [*self._builtin, *self._registered, *sorted(self._entries)]

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._registered or name in self._entries

    def get(self, name: str) -> T:
        """The object called `name`, imported if it has not been.

        Raises:
            KeyError: if there is none.
            RegistryError: if a package's object cannot be imported or used, or a name is taken twice.
        """
        entries = self._entries  # before all else, so that a name that is taken twice is an error whoever asks
        if name in self._registered:
            return self._registered[name]
        if name not in self._loaded:
            if name in self._builtin:
                self._loaded[name] = _resolved(self._builtin[name])
            else:
                self._loaded[name] = self._load(entries[name])
        return self._loaded[name]

    def register(self, name: str, value: T) -> None:
        """Add an object for this process alone; processes that it starts know those of installed packages only.

        Raises `RegistryError` for a name that is taken or cannot be one, or an object that cannot be used.
        """
        if not NAME.fullmatch(name):
            raise RegistryError(f"{self._noun} {name!r} has no name that can be part of a path")
        if name in self:
            raise RegistryError(f"{self._noun} {name!r} is there already, from {self.origin(name) or 'Gradus'}")
        if reason := self._wrong(name, value):
            raise RegistryError(f"{self._noun} {name!r} {reason}")
        self._registered[name] = value

    def unregister(self, name: str) -> None:
        """Take back what `register` added."""
        del self._registered[name]

    def origin(self, name: str) -> Origin | None:
        """The distribution that `name` comes from; None for Gradus's own. Raises `KeyError` for an unknown name."""
        if name in self._builtin:
            return None
        return Origin(UNPACKAGED, "") if name in self._registered else _origin(self._entries[name])

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self._group):
            if not NAME.fullmatch(entry.name):
                raise RegistryError(
                    f"{self._noun} {entry.name!r} of {_origin(entry)} has no name that can be part of a path"
                )
            taken = found.get(entry.name)
            if entry.name in self._builtin or taken:
                other = _origin(taken) if taken else "Gradus"
                raise RegistryError(
                    f"{self._noun} {entry.name!r} of {_origin(entry)} is there already, from {other}; uninstall one"
                )
            found[entry.name] = entry
        return found

    def _load(self, entry: EntryPoint) -> T:
        what = f"{self._noun} {entry.name!r} of {_origin(entry)}"
        try:
            found = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise RegistryError(f"{what} cannot be imported from {entry.value}: {reason}") from error
        if reason := self._wrong(entry.name, found):
            raise RegistryError(f"{what} ({entry.value}) {reason}")
        return found


def _origin(entry: EntryPoint) -> Origin:
    return Origin(entry.dist.name, entry.dist.version) if entry.dist else Origin(UNPACKAGED, "")


def _resolved(value: Any) -> Any:
    """The object that `module:attribute` names; anything but text stands for itself."""
    if not isinstance(value, str):
        return value
    module, _, attribute = value.partition(":")
    return getattr(import_module(module), attribute)
