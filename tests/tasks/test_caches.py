"""Caches: shared by users, read-only, or with nowhere to be."""

import os
import shutil
import stat
import tempfile
from importlib.metadata import PackageNotFoundError

import pytest

from suite import doctor
from suite.errors import UserError
from suite.plan import preflight
from tasks.core import caches
from tasks.isaaclab import assets

NOWHERE = "/proc/gradus"  # nobody can make it, root included


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """Both caches are where nothing can be written; returns the folder of temporary files."""
    caches._instead.cache_clear()
    for variable in caches.VARIABLES.values():
        monkeypatch.setenv(variable, NOWHERE)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield temporary
    caches._instead.cache_clear()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o002, 0o775), (0o077, 0o700)])
def test_a_shared_cache_can_be_read_by_whoever_the_umask_lets(tmp_path, monkeypatch, umask, mode):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))
    before = os.umask(umask)
    try:
        usd = assets.usd_path("cartpole")
    finally:
        os.umask(before)
    for folder in (usd.parent, usd.parents[1], usd.parents[2]):
        assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert stat.S_IMODE(usd.stat().st_mode) == mode & 0o666


def test_a_cache_that_cannot_be_written_serves_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))
    usd = assets.usd_path("cartpole")
    monkeypatch.setattr(caches, "usable", lambda name: pytest.fail("nothing has to be written"))
    assert assets.usd_path("cartpole") == usd


def test_where_no_cache_can_be_written_a_temporary_one_is_used(no_cache, capfd):
    usd = assets.usd_path("cartpole")
    assert usd.is_relative_to(no_cache / f"gradus-cache-{os.getuid()}")
    assert assets.usd_path("cartpole") == usd
    preflight.check_caches(["torch"])
    assert os.environ["WARP_CACHE_PATH"] == NOWHERE
    preflight.check_caches(["torch", "ovphysx"])
    assert os.environ["WARP_CACHE_PATH"] == str(no_cache / f"warp-cache-{os.getuid()}")
    caches.prepare()
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [f"the cache {NOWHERE} cannot be written"] * 2
    assert all("may be gone after a restart" in line for line in lines)


@pytest.mark.parametrize("trap", ["open", "link", "file", "none"])
def test_a_temporary_cache_that_others_could_fill_is_refused(no_cache, trap):
    name = no_cache / f"warp-cache-{os.getuid()}"
    if trap == "open":
        name.mkdir()
        name.chmod(0o777)
    if trap == "link":
        name.symlink_to(no_cache)
    if trap == "file":
        name.touch()
    if trap == "none":
        shutil.rmtree(no_cache)
    with pytest.raises(UserError, match="cannot be written") as error:
        preflight.check_caches(["newton_mjwarp"])
    assert "set WARP_CACHE_PATH" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_asset_that_cannot_be_kept_is_one_line(no_cache):
    shutil.rmtree(no_cache)
    with pytest.raises(assets.AssetError, match="asset 'cartpole' cannot be kept: the cache /proc/gradus"):
        assets.usd_path("cartpole")


def test_a_missing_converter_names_the_command(tmp_path, monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))
    monkeypatch.setattr(assets, "distribution", missing)
    with pytest.raises(assets.AssetError, match="needs the package isaacsim-asset-isolated; run `uv sync`"):
        assets.usd_path("go2")


def test_doctor_says_that_a_cache_cannot_be_written(no_cache, capsys):
    found = doctor.examine()
    assert found["caches"]["kernels"]["not_writable"]
    doctor._show(found)
    text = capsys.readouterr().out
    for variable in caches.VARIABLES.values():
        assert f"set {variable} to one that can" in text
