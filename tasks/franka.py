"""The Panda arm: what the Franka tasks share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.utils.math import combine_frame_transforms
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg

from tasks import assets, terms

if TYPE_CHECKING:
    from tasks.lab_env import GradedEnv

ARM = "panda_joint[1-7]"
HOME = {
    "panda_joint1": 0.0,
    "panda_joint2": -math.pi / 4,
    "panda_joint3": 0.0,
    "panda_joint4": -3 * math.pi / 4,
    "panda_joint5": 0.0,
    "panda_joint6": math.pi / 2,
    "panda_joint7": math.pi / 4,
    "panda_finger_joint.*": 0.04,
}
"""Franka's "ready" pose: joint positions [rad] ([m] for the fingers) with the hand pointing down."""

# The converter merges fixed joints, so the last body of the arm is link 7; the tool centre point (TCP) between the
# fingertips is where Franka's own description puts it: flange 107 mm, hand turned by -45 degrees, fingers 103.4 mm.
LAST_LINK = "panda_link7"
TCP_OFFSET = (0.0, 0.0, 0.107 + 0.1034)  # [m]
TCP_ROTATION = (0.0, 0.0, -math.sin(math.pi / 8), math.cos(math.pi / 8))  # (x, y, z, w)


def panda() -> ArticulationCfg:
    """The arm on a fixed base, with stiff position control of the joints."""
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(assets.usd_path("panda")),
            fix_root_link=True,
            rigid_props=[PhysxRigidBodyCfg(max_depenetration_velocity=5.0)],
            articulation_props=terms.no_self_collisions(position_iterations=8),
        ),
        init_state=ArticulationCfg.InitialStateCfg(joint_pos=HOME),
        actuators={
            "arm": ImplicitActuatorCfg(
                joint_names_expr=[ARM],
                joint_effort_limit={"panda_joint[1-4]": 87.0, "panda_joint[5-7]": 12.0},  # [N·m], Franka's data sheet
                stiffness=400.0,
                damping=80.0,
                armature=1e-3,
            ),
            "hand": ImplicitActuatorCfg(
                joint_names_expr=["panda_finger_joint.*"], joint_effort_limit=200.0, stiffness=2000.0, damping=100.0
            ),
        },
    )


def tcp_pose(env: GradedEnv) -> tuple[torch.Tensor, torch.Tensor]:
    """Tool centre point in the frame of the env: position [N, 3] [m], orientation [N, 4] (x, y, z, w)."""
    robot = env.scene["robot"]
    link = robot.body_names.index(LAST_LINK)
    position = robot.data.body_pos_w.torch[:, link] - env.scene.env_origins
    offset = torch.tensor(TCP_OFFSET, device=env.device).expand(env.num_envs, 3)
    rotation = torch.tensor(TCP_ROTATION, device=env.device).expand(env.num_envs, 4)
    return combine_frame_transforms(position, robot.data.body_quat_w.torch[:, link], offset, rotation)


def too_fast(env: GradedEnv) -> torch.Tensor:
    """An arm joint is over the safety limit `joint_velocity` [N] bool."""
    return terms.joint_velocity_over(env, env.owner.spec.safety["joint_velocity"].value, ARM)


def beyond_limits(env: GradedEnv) -> torch.Tensor:
    """A joint is beyond the safety limit `joint_position` [N] bool."""
    return terms.joint_position_outside(env, env.owner.spec.safety["joint_position"].value, ARM)


SAFETY = {"joint_velocity": too_fast, "joint_position": beyond_limits}
