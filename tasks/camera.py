"""Pictures of an env without a display: Newton's ray tracer, which draws the scene of every engine on CPU and CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import isaaclab.sim as sim_utils
import torch
from isaaclab.sensors import CameraCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg

from tasks.spec import View

if TYPE_CHECKING:
    from isaaclab.envs import ManagerBasedRLEnv

BACKGROUND = (0.75, 0.82, 0.9)
FAR = 12.0  # [m] beyond it the shadows of a large floor are noise


def sensor(view: View) -> CameraCfg:
    """The camera of an env; `picture` aims it."""
    width, height = view.size
    return CameraCfg(
        prim_path="{ENV_REGEX_NS}/Camera",
        update_period=0.0,
        width=width,
        height=height,
        data_types=["rgb"],
        background_color=BACKGROUND,
        spawn=sim_utils.PinholeCameraCfg(focal_length=24.0, horizontal_aperture=20.955, clipping_range=(0.01, FAR)),
        renderer_cfg=NewtonWarpRendererCfg(enable_shadows=True),
    )


def picture(env: ManagerBasedRLEnv, view: View) -> torch.Tensor:
    """What the camera of row 0 sees now: [height, width, 3] uint8, on the env's device."""
    base = env.scene["robot"].data.root_pos_w.torch if view.follow else env.scene.env_origins
    camera = env.scene["camera"]
    eye, target = (base + torch.tensor(point, device=env.device) for point in (view.eye, view.target))
    camera.set_world_poses_from_view(eye, target)
    camera.update(0.0, force_recompute=True)
    return camera.data.output["rgb"].torch[0, ..., :3]
