"""Pictures of an env without a display: Newton's ray tracer, which draws the scene of every engine on CPU and CUDA."""

from __future__ import annotations

import math
from importlib import import_module

import isaaclab.sim as sim_utils
import numpy as np
import torch
from isaaclab.sensors import CameraCfg
from isaaclab.utils.math import matrix_from_quat
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from PIL import Image, ImageDraw

from tasks.core.env_state import EnvState
from tasks.spec import View

BACKGROUND = (0.75, 0.82, 0.9)
FOCAL_LENGTH, APERTURE = 24.0, 20.955  # [mm] 47 degrees from side to side
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
        spawn=sim_utils.PinholeCameraCfg(
            focal_length=FOCAL_LENGTH, horizontal_aperture=APERTURE, clipping_range=(0.01, FAR)
        ),
        renderer_cfg=NewtonWarpRendererCfg(enable_shadows=True),
    )


Mark = tuple[str, torch.Tensor]
"""A line that a picture shows over all else: a colour by name, and points [N, k, 3] in the frame of the env [m]."""


def picture(env: EnvState, view: View) -> np.ndarray:
    """What the camera of row 0 sees now, with the view's marks: [height, width, 3] uint8."""
    origins = env.scene.env_origins
    frame = env.scene["robot"].data.root_pos_w.torch if view.follow else origins
    camera = env.scene["camera"]
    eye, target = (frame + torch.tensor(point, device=env.device) for point in (view.eye, view.target))
    camera.set_world_poses_from_view(eye, target)
    camera.update(0.0, force_recompute=True)
    image = camera.data.output["rgb"].torch[0, ..., :3].cpu().numpy()
    if not view.marks:
        return image
    module, function = view.marks.split(":")
    drawn = Image.fromarray(image)
    for color, points in getattr(import_module(module), function)(env):
        pixels = _project(points[0] + origins[0], eye[0], target[0], view.size)
        if pixels is not None:
            ImageDraw.Draw(drawn).line(pixels, fill=color, width=max(2, view.size[1] // 120))
    return np.asarray(drawn)


def _project(points: torch.Tensor, eye: torch.Tensor, target: torch.Tensor, size: tuple[int, int]) -> list | None:
    """Pixels of points [k, 3] in the world, None where one is not before the camera."""
    ahead = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(ahead, torch.tensor((0.0, 0.0, 1.0)).to(ahead)), dim=0)
    seen = (points - eye) @ torch.stack((right, torch.linalg.cross(ahead, right), ahead), dim=1)
    if (seen[:, 2] < 0.01).any():
        return None
    width, height = size
    pixels = seen[:, :2] / seen[:, 2:] * (FOCAL_LENGTH / APERTURE * width)
    return [(x + width / 2, y + height / 2) for x, y in pixels.tolist()]


def ring(center: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """A level circle [N, 33, 3] about points [N, 3] with radius [N]."""
    angle = torch.linspace(0.0, 2.0 * math.pi, 33, device=center.device)
    circle = torch.stack((angle.cos(), angle.sin(), 0.0 * angle), dim=-1)
    return center[:, None] + radius[:, None, None] * circle


def axes(position: torch.Tensor, orientation: torch.Tensor, length: float) -> list[Mark]:
    """The x, y and z axis, red, green and blue, of frames at [N, 3] with orientation [N, 4] (x, y, z, w)."""
    columns = matrix_from_quat(orientation)
    return [
        (color, torch.stack((position, position + length * columns[..., k]), dim=1))
        for k, color in enumerate(("red", "lime", "blue"))
    ]
