"""The switch of fast paths, and the check of private names that they need."""

from types import SimpleNamespace

import pytest

from tasks.core import fast
from tasks.core.fast import Home


class Part:
    """A library's class: `declared` has no value, `late` comes from a method, `asked` is read only."""

    declared: int

    def start(self):
        self.late = 1

    @property
    def double(self):
        self.cached = 2 * self.asked
        return self.cached


class Smaller(Part):
    """Inherits all that it has."""


HERE = f"{__name__}:Smaller"
INSTALLED = {"pytest": pytest.__version__}
kernel = SimpleNamespace(adj=SimpleNamespace(args=[SimpleNamespace(label="dt"), SimpleNamespace(label="out")]))


def test_names_that_are_there_are_found():
    names = {HERE: ("declared", "start", "late", "cached"), "os.path": ("join",), "os": ("path",)}
    home = Home("A library", INSTALLED, names, {f"{__name__}:kernel": ("dt", "out")})
    assert home.missing() == []
    assert home.usable()
    home.demand()


@pytest.mark.parametrize(
    ("names", "kernels", "why"),
    [
        ({HERE: ("late", "asked")}, {}, r"has no .*:Smaller\.asked"),
        ({"os.path:nowhere": ("x",)}, {}, r"has no os\.path:nowhere\.x"),
        ({"no_such_module": ("x",)}, {}, r"has no no_such_module\.x"),
        ({}, {f"{__name__}:kernel": ("out", "dt")}, "has no kernel .*:kernel with the arguments out, dt"),
        ({}, {f"{__name__}:gone": ("dt",)}, "has no kernel .*:gone"),
    ],
)
def test_what_is_missing_is_said_once_and_the_public_way_is_taken(capsys, names, kernels, why):
    home = Home("A library", INSTALLED, names, kernels)
    assert not home.usable()
    assert not home.usable()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"A library: pytest {pytest.__version__} has no ")
    assert said[0].endswith("; the slower public way is taken")
    with pytest.raises(RuntimeError, match=why):
        Home("A library", INSTALLED, names, kernels).demand()


@pytest.mark.parametrize("tested", ["0.0.1", pytest.__version__[:-1]])
def test_another_version_than_the_tested_one_takes_the_public_way(capsys, tested):
    assert not Home("A library", {"pytest": tested}, {}).usable()
    said = f"A library: pytest {pytest.__version__} is not the tested version {tested}"
    assert capsys.readouterr().err.startswith(said)


def test_a_build_of_the_tested_version_is_tested():
    assert Home("A library", {"pytest": pytest.__version__.rpartition(".")[0]}, {}).untested() is None


@pytest.mark.parametrize(("value", "on"), [("0", False), ("1", True), (None, True)])
def test_the_switch(monkeypatch, capsys, value, on):
    if value is None:
        monkeypatch.delenv(fast.SWITCH, raising=False)
    else:
        monkeypatch.setenv(fast.SWITCH, value)
    assert fast.enabled() is on
    assert Home("A library", {}, {}).usable() is on
    assert capsys.readouterr().err == ""
