"""Robots from pinned packages, converted to USD once and cached under the hash of their source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tasks.core import caches
from tasks.core.files import sync, temporary_beside

ROBOT_DATA = "cmeel.prefix/share/example-robot-data"


class AssetError(RuntimeError):
    """An asset's package is missing, is another version than pinned, or could not be converted."""


@dataclass(frozen=True)
class Asset:
    """A robot description inside an installed package.

    `folder` and `file` are relative to the package's install location; `sha256` covers every file of `folder`
    (of `file` alone where it is USD already). `fixed_base` is for URDF, `repair` (pairs of old text, new text) for USD.
    """

    package: str
    folder: str
    file: str
    sha256: str
    fixed_base: bool | None = None
    repair: tuple[tuple[str, str], ...] = ()


ASSETS = {
    "allegro": Asset(
        package="example-robot-data",
        folder=f"{ROBOT_DATA}/robots/allegro_hand_description",
        file="urdf/allegro_right_hand.urdf",
        sha256="59b42557f8476e73050fca1aea3a033ac51fef9ebb860270de3531afaf774c3d",
        fixed_base=False,  # as the Panda's
    ),
    "ant": Asset(
        package="newton",
        folder="newton/examples/assets",
        file="ant.usda",
        sha256="d6563ba7e201b67bd7f91404081cedb0f2234950d7c4d2dc3f07bfa390c4f721",
        repair=(
            # As heavy as the MuJoCo model beside it, which it was made from: else 0.18 kg under joints of 15 N·m.
            ("physics:density = 1", "physics:density = 5"),
            # MuJoCo's joint limits are springs, which this keeps from throwing the legs back; PhysX's are hard.
            ("physxLimit:angular:damping = 0.1", "physxLimit:angular:damping = 2.0"),
        ),
    ),
    "anymal": Asset(
        package="example-robot-data",
        folder=f"{ROBOT_DATA}/robots/anymal_c_simple_description",
        file="urdf/anymal.urdf",
        sha256="70111f447003990e14c3774a0e922dd8ca40320721f66473e00720c19940cd44",
        fixed_base=False,
    ),
    "cartpole": Asset(
        package="newton",
        folder="newton/examples/assets",
        file="cartpole_single_pendulum.usda",
        sha256="6dd7771464f01e7c90ea9bc0a1ec91e4eaf212b95381dabc84f0c9580b81d315",
        # Its default prim names nothing, so a reference to the file would be empty.
        repair=(('defaultPrim = "cartPole"', 'defaultPrim = "cartpole"'),),
    ),
    "g1": Asset(
        package="example-robot-data",
        folder=f"{ROBOT_DATA}/robots/g1_description",
        file="urdf/g1_29dof_rev_1_0.urdf",
        sha256="c91eb71c5c9842d85ca644e88bf8ff68fa3557f35a26a4b899a8ad08401697ee",
        fixed_base=False,
    ),
    "go2": Asset(
        package="example-robot-data",
        folder=f"{ROBOT_DATA}/robots/go2_description",
        file="urdf/go2.urdf",
        sha256="dd339aa064a2d86058f0a6f1b87232217082d46c1631ff01d89b4be21b3c0d10",
        fixed_base=False,
    ),
    "panda": Asset(
        package="example-robot-data",
        folder=f"{ROBOT_DATA}/robots/panda_description",
        file="urdf/panda_collision.urdf",
        sha256="a0a797b637d3899bdedcf2c43e24299ca3c1fc8fbba85d6aca7587b8a7fa496f",
        fixed_base=False,  # the task fixes it: a joint of the converter besides would be one too many for Newton
    ),
}


def hashes(names: tuple[str, ...]) -> dict[str, str]:
    """Asset name to the SHA-256 of its source, for a result's provenance."""
    return {name: ASSETS[name].sha256 for name in names}


def usd_path(name: str) -> Path:
    """Path of the asset as USD, converted now if the cache does not have it.

    Raises:
        AssetError: if the source package is missing, differs from the pinned hash, or cannot be converted or kept.
    """
    asset = ASSETS[name]
    # The key names the source and the converter, so neither can change behind a cached file. A cache that was
    # brought from elsewhere serves without the source package.
    converter = "usd" if asset.fixed_base is None else _version("isaacsim-asset-isolated", name)
    folder = f"assets/{name}-{asset.sha256[:16]}-{converter}"
    usd = f"{folder}/{Path(asset.file).stem}/{Path(asset.file).stem}.usda"
    if _readable(found := caches.wanted("gradus") / usd):
        return found
    # Of another user's cache, which can be read and not written, serves what it has.
    try:
        cache = caches.usable("gradus")
        if not _readable(cache / usd):
            _fill_cache(asset, name, _checked_source(name), cache / folder)
    except (caches.CacheError, OSError) as error:
        raise AssetError(f"asset {name!r} cannot be kept: {error}") from None
    return cache / usd


def _readable(file: Path) -> bool:
    try:
        return file.is_file() and os.access(file, os.R_OK)
    except PermissionError:  # of a folder above it
        return False


def _version(package: str, name: str) -> str:
    try:
        return distribution(package).version
    except PackageNotFoundError:
        raise AssetError(f"asset {name!r} needs the package {package}; run `uv sync`") from None


@cache
def _checked_source(name: str) -> Path:
    asset = ASSETS[name]
    try:
        folder = Path(distribution(asset.package).locate_file(asset.folder))
    except PackageNotFoundError:
        raise AssetError(f"asset {name!r} needs the package {asset.package}; run `uv sync`") from None
    source = folder / asset.file
    if not source.is_file():
        raise AssetError(f"asset {name!r}: {asset.package} has no {asset.folder}/{asset.file}; run `uv sync`")
    files = [source] if asset.fixed_base is None else sorted(p for p in folder.rglob("*") if p.is_file())
    found = _sha256(folder, files)
    if found != asset.sha256:
        raise AssetError(
            f"asset {name!r}: files of {asset.package} have hash {found[:16]}, pinned is {asset.sha256[:16]};"
            " install the pinned version with `uv sync`"
        )
    return source


def _sha256(folder: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _fill_cache(asset: Asset, name: str, source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = temporary_beside(target)
    work.mkdir()  # with the modes that this user's files have: a cache may be for a group
    usd = work / source.stem / f"{source.stem}.usda"
    try:
        if asset.fixed_base is None:
            usd.parent.mkdir()
            text = source.read_text(encoding="utf-8")
            for old, new in asset.repair:
                text = text.replace(old, new)
            usd.write_text(text, encoding="utf-8")
        else:
            _convert(asset, name, source, work)
        if not usd.is_file():
            raise AssetError(f"asset {name!r}: the conversion wrote no {usd.name}")
        for path in work.rglob("*"):
            if path.is_file():
                sync(path)
        try:
            work.rename(target)  # atomic: a reader sees the whole asset or none
        except OSError:
            if not target.is_dir():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _convert(asset: Asset, name: str, urdf: Path, out: Path) -> None:
    """Convert in a process of its own: the importer's USD plugins clash with OVPhysX's in one process."""
    print(f"converting robot {name} to USD (once, about 10 s)", file=sys.stderr, flush=True)
    base = "fixed" if asset.fixed_base else "floating"
    done = subprocess.run(
        [sys.executable, "-m", "tasks.isaaclab.convert", str(urdf), str(out), base],
        capture_output=True,
        text=True,
        env=os.environ | {"OMNI_KIT_ACCEPT_EULA": "YES"},
    )
    if done.returncode:
        raise AssetError(f"asset {name!r}: conversion failed (exit {done.returncode}): {done.stderr[-500:]}")
