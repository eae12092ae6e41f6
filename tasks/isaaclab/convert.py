"""URDF to USD with Isaac Lab's converter: `python -m tasks.isaaclab.convert URDF OUT_DIR fixed|floating`."""

from __future__ import annotations

import sys
from pathlib import Path

from isaaclab.sim.converters import UrdfConverter, UrdfConverterCfg

from tasks.isaaclab.assets import ROBOT_DATA


def main(urdf: str, out: str, base: str) -> None:
    """Write `OUT_DIR/<stem>/<stem>.usda`."""
    package = urdf[: urdf.index(ROBOT_DATA)] + ROBOT_DATA
    UrdfConverter(
        UrdfConverterCfg(
            asset_path=str(Path(urdf).resolve()),
            usd_dir=out,
            fix_base=base == "fixed",
            merge_fixed_joints=True,
            force_usd_conversion=True,
            joint_drive=None,  # gains belong to the task's actuators
            ros_package_paths=[{"name": "example-robot-data", "path": package}],
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
