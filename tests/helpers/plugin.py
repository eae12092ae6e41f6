"""Installs the example plugin, or one that a test makes up, into a folder: no network, no build."""

import os
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "plugin"
TRAIN = ("--task", "toy-reach", "--budget", "smoke", "--device", "cpu", "train.env_steps=8192", "train.checkpoints=4")


def install(project: Path, site: Path) -> Path:
    """Copy the packages of a project (src layout) to `site`, with what importlib.metadata reads of a distribution."""
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(project / "src", site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    describe(site, told["name"], told["version"], told["entry-points"])
    return site


def describe(site: Path, name: str, version: str, groups: dict[str, dict[str, str]]) -> None:
    """Write the metadata of a distribution with these entry points."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def environment(*sites: Path) -> dict[str, str]:
    """What a process needs to see what is installed in `sites`."""
    paths = os.pathsep.join(str(path) for path in (*sites, ROOT))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
