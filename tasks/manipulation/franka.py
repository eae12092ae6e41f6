"""The Panda arm: what the Franka tasks share."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.managers import ActionTerm, ActionTermCfg, EventTermCfg, ObservationTermCfg, SceneEntityCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import ContactSensorCfg
from isaaclab.utils import configclass, index_fill_
from isaaclab.utils.math import (
    axis_angle_from_quat,
    quat_apply,
    quat_inv,
    wrap_to_pi,
)
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg

from tasks.core.env_state import EnvState
from tasks.cuda import linear, rotations
from tasks.cuda.record import starts
from tasks.isaaclab import assets, terms
from tasks.manipulation import objects
from tasks.manipulation.panda import GRIPPER, HAND_MOTION, HAND_TURN
from tasks.spec import TaskSpec

ARM = "panda_joint[1-7]"
FINGERS = "panda_finger_joint.*"
OPEN, CLOSED = 0.04, -0.02  # [m] targets of a finger, which travels from 0 to 0.04: what it cannot reach is its grip
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
    """The arm on a fixed base, whose joints follow their targets within a tenth of a second.

    The motors' inertia (as in Isaac Lab's lift task) makes both engines move the arm alike where its drives give all
    they have, and keeps contacts stiff on Newton: MuJoCo's do not see a joint's damping, and give way where that
    outweighs inertia.
    """
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
                joint_velocity_limit=terms.NO_SPEED_LIMIT,
                stiffness={"panda_joint[1-4]": 400.0, "panda_joint[5-7]": 200.0},
                damping={"panda_joint[1-4]": 40.0, "panda_joint[5-7]": 20.0},
                armature={"panda_joint[1-2]": 0.61, "panda_joint[3-4]": 0.46, "panda_joint[5-7]": 0.21},
            ),
            "hand": ImplicitActuatorCfg(
                joint_names_expr=[FINGERS], joint_effort_limit=200.0, stiffness=2000.0, damping=100.0
            ),
        },
    )


POINTING_DOWN = (1.0, 0.0, 0.0, 0.0)  # orientation of the TCP (x, y, z, w): fingers open to the sides
PEDESTAL = 0.12  # [m] height of the base over the floor: the Panda's first link reaches 9 cm below it, and would rub
OVER_TABLE = HOME | {
    "panda_joint2": 0.32,
    "panda_joint4": -2.39,
    "panda_joint6": 2.71,
}
"""Where tasks with objects start: the TCP 0.2 m over the floor, half a metre before the base."""


def handling_panda() -> ArticulationCfg:
    """The arm for tasks with objects.

    Its weight is compensated, as by Franka's own controller, and its fingers close at 0.2 m/s and grip with about 10 N.
    """
    cfg = panda()
    cfg.spawn.activate_contact_sensors = True
    cfg.spawn.rigid_props = [
        PhysxRigidBodyCfg(max_depenetration_velocity=5.0, disable_gravity=True),
        MujocoRigidBodyCfg(gravcomp=1.0),
    ]
    cfg.spawn.physics_material = objects.friction()
    cfg.init_state.pos = (0.0, 0.0, PEDESTAL)
    cfg.init_state.joint_pos = OVER_TABLE
    cfg.actuators["hand"] = ImplicitActuatorCfg(
        joint_names_expr=[FINGERS], joint_effort_limit=70.0, stiffness=300.0, damping=60.0, armature=0.3
    )
    return cfg


def handling_scene(robot: ArticulationCfg, **entities: Any) -> InteractiveSceneCfg:
    """The arm on its pedestal, a floor, and what it handles; the contact sensor `fingers` has the force on each."""
    links = "/".join(f"panda_link{k}" for k in range(8))
    return terms.scene(
        env_spacing=2.5,
        floor=objects.floor(),
        **objects.table(PEDESTAL),
        robot=robot,
        fingers=ContactSensorCfg(prim_path=f"{{ENV_REGEX_NS}}/Robot/Geometry/{links}/panda_.*finger"),
        **entities,
    )


def arm_joints() -> dict[str, Any]:
    """Parameters of Isaac Lab's terms on joints that mean those of the arm."""
    return {"asset_cfg": SceneEntityCfg("robot", joint_names=[ARM])}


def arm_state() -> dict[str, ObservationTermCfg]:
    """The observations that `panda.arm_state` declares."""
    return {
        "joint_position": ObservationTermCfg(func=mdp.joint_pos_rel, params=arm_joints()),
        "joint_velocity": ObservationTermCfg(func=mdp.joint_vel, params=arm_joints(), scale=0.2),
    }


def near_start(spread: float) -> EventTermCfg:
    """At a reset all joints are at rest, the fingers in the start pose, the arm's up to `spread` [rad] from it."""
    return EventTermCfg(func=_go_to_start, mode="reset", params={"spread": spread})


def _go_to_start(env: EnvState, env_ids: torch.Tensor, spread: float) -> None:
    ids, _, _, rest = env.once(terms.joint_start, (ARM, FINGERS))
    env.runtime.put_joints(env, env_ids, ids, starts(env, env_ids, _near_start, spread), rest[: len(env_ids)])


def _near_start(env: EnvState, spread: float) -> torch.Tensor:
    """Positions of the arm's and the fingers' joints [N, 9]."""
    _, default, (low, high), _ = env.once(terms.joint_start, (ARM, FINGERS))
    arm = default[:7] + spread * env.draws.within("arm", 7)
    return torch.cat((arm, default[7:].expand(env.num_envs, -1)), dim=-1).clamp(low, high)


def tcp_pose(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Tool centre point in the frame of the env: position [N, 3] [m], orientation [N, 4] (x, y, z, w)."""
    robot = env.scene["robot"]
    link = robot.body_names.index(LAST_LINK)
    position = robot.data.body_pos_w.torch[:, link] - env.scene.env_origins
    orientation = robot.data.body_quat_w.torch[:, link]
    offset, rotation = _tcp(env.device)
    return position + quat_apply(orientation, offset), rotations.multiply(orientation, rotation)


@cache
def _tcp(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Offset [m] and rotation of the TCP in the frame of the last link, copied to the device once."""
    return torch.tensor(TCP_OFFSET, device=device), torch.tensor(TCP_ROTATION, device=device)


def tcp_position(env: EnvState) -> torch.Tensor:
    """Tool centre point in the frame of the env [N, 3] [m]."""
    return env.now(tcp_pose)[0]


def object_from_tcp(env: EnvState, part: objects.Part = 0) -> torch.Tensor:
    """From the TCP to the object that plays the part [N, 3] [m]."""
    return objects.position(env, part) - tcp_position(env)


def opening(env: EnvState) -> torch.Tensor:
    """Mean travel of the two fingers [N, 1], 1 for open."""
    fingers = env.scene["robot"].data.joint_pos.torch[:, env.joint_ids(FINGERS)]
    return fingers.mean(dim=-1, keepdim=True) / OPEN


def grasp_error(env: EnvState, part: objects.Part = 0) -> torch.Tensor:
    """Distance of the TCP from where it can grasp the object that plays the part [N] [m].

    That is the object's centre, or higher if the object is so tall that it would touch the palm.
    """
    error = object_from_tcp(env, part)
    error[:, 2] += (objects.chosen_height(env, part) - 0.018).clamp(min=0.0)
    return error.norm(dim=-1)


def reaching(env: EnvState, part: objects.Part = 0) -> torch.Tensor:
    """1 with the TCP where it can grasp the object, 0.5 about 5 cm from there [N]."""
    return 1.0 - (env.now(grasp_error, part) / 0.1).tanh()


def gripping(env: EnvState, part: objects.Part = 0) -> torch.Tensor:
    """Share by which the fingers have closed, only where they can grasp the object [N]."""
    return (1.0 - opening(env)[:, 0]).clamp(0.0, 1.0) * (env.now(grasp_error, part) < 0.02)


class HandAction(ActionTerm):
    """Moves the hand, which keeps its orientation, with differential inverse kinematics.

    Actions [N, 3 + yaw + gripper] in [-1, 1] are: how far ahead of the TCP its target is, in the base frame; by how
    much the hand is to turn about the vertical; and how far the fingers close, open at 0 and below. The
    joint targets follow from the measured pose at every control step, so that no target runs away from a hand that
    something holds back. Damped least squares after Wampler, "Manipulator inverse kinematic solutions based on vector
    formulations and damped least-squares methods" (1986); what they leave free draws the joints towards home.
    """

    cfg: HandActionCfg
    constant = True  # see `tasks.isaaclab.ovphysx.stepping.make`

    def __init__(self, cfg: HandActionCfg, env: EnvState) -> None:
        """Look up joints and links."""
        super().__init__(cfg, env)
        robot = env.scene[cfg.asset_name]
        arm, fingers = robot.find_joints(ARM)[0], robot.find_joints(FINGERS)[0]
        self._arm, self._joints = (torch.tensor(ids, device=self.device) for ids in (arm, arm + fingers))
        links = [robot.body_names.index(f"panda_link{k}") for k in range(1, 8)]
        self._links = torch.tensor(links, device=self.device)
        self._box = torch.tensor((cfg.low, cfg.high), device=self.device)
        self._hold = torch.tensor(cfg.hold, device=self.device).repeat(self.num_envs, 1)
        self._hold_inverse = quat_inv(self._hold)
        self._damping = 0.05**2 * torch.eye(6, device=self.device)
        self._raw_actions = torch.zeros(self.num_envs, self.action_dim, device=self.device)
        self._targets = robot.data.default_joint_pos.torch[:, self._joints].clone()

    @property
    def action_dim(self) -> int:
        """Width of the action."""
        return 3 + self.cfg.yaw + self.cfg.gripper

    @property
    def raw_actions(self) -> torch.Tensor:
        """Actions of the last step [N, action_dim]."""
        return self._raw_actions

    @property
    def processed_actions(self) -> torch.Tensor:
        """Target positions of the seven arm joints [rad] and the two fingers [m] [N, 9]."""
        return self._targets

    def reset(self, env_ids: torch.Tensor | None = None) -> None:
        """Forget the last action of rows `env_ids`."""
        index_fill_(self._raw_actions, env_ids, 0.0)

    def process_actions(self, actions: torch.Tensor) -> None:
        """Joint targets from actions [N, action_dim]."""
        self._raw_actions[:] = actions
        robot = self._asset
        position, orientation = self._env.now(tcp_pose)
        goal = (position + self.cfg.reach * actions[:, :3]).clamp(*self._box)
        turned = self._hold
        if self.cfg.yaw:  # free to turn by a quarter to each side, which is all that two fingers need
            yaw = rotations.yaw(rotations.multiply(orientation, self._hold_inverse))
            yaw = (wrap_to_pi(yaw) + self.cfg.turn * actions[:, 3]).clamp(-math.pi / 2, math.pi / 2)
            turned = rotations.multiply(rotations.about_vertical(yaw), turned)
        rotation = axis_angle_from_quat(rotations.multiply(turned, quat_inv(orientation)))
        twist = torch.cat((goal - position, rotation), dim=-1)

        axes = rotations.matrix(robot.data.body_quat_w.torch[:, self._links])[..., 2]  # joints turn about links' z
        lever = position[:, None] + self._env.scene.env_origins[:, None] - robot.data.body_pos_w.torch[:, self._links]
        jacobian = torch.cat((torch.linalg.cross(axes, lever), axes), dim=-1).transpose(1, 2)
        joints = robot.data.joint_pos.torch[:, self._arm]
        home = 0.1 * (robot.data.default_joint_pos.torch[:, self._arm] - joints)
        damped = jacobian @ jacobian.transpose(1, 2) + self._damping
        wanted = twist - (jacobian @ home[..., None])[..., 0]
        step = home + (jacobian.transpose(1, 2) @ linear.solve(damped, wanted)[..., None])[..., 0]
        limits = robot.data.joint_pos_limits.torch[:, self._arm]
        self._targets[:, :7] = (joints + step).clamp(limits[..., 0], limits[..., 1])
        if self.cfg.gripper:
            self._targets[:, 7:] = OPEN + (CLOSED - OPEN) * actions[:, -1:].clamp(min=0.0)
        else:
            self._targets[:, 7:].fill_(CLOSED)  # an assignment would copy the number to a GPU, and wait

    def apply_actions(self) -> None:
        """Hand the targets to the actuators, before every physics step."""
        self._asset.set_joint_position_target_index(target=self._targets, joint_ids=self._joints)


@configclass
class HandActionCfg(ActionTermCfg):
    """See `HandAction`."""

    class_type: type = HandAction
    asset_name: str = "robot"
    yaw: bool = True  # whether an action turns the hand; else it keeps its heading
    gripper: bool = True  # whether an action moves the fingers; else they stay closed
    hold: tuple[float, float, float, float] = POINTING_DOWN  # orientation of the TCP that the hand keeps
    reach: float = 0.05  # [m] at full action: the hand then moves at about 0.5 m/s
    turn: float = 0.3  # [rad] at full action
    low: tuple[float, float, float] = (0.25, -0.4, 0.016)  # [m] the fingers end 15 mm below the TCP
    high: tuple[float, float, float] = (0.75, 0.4, 0.5)  # [m]


def hand(spec: TaskSpec, **settings: Any) -> HandActionCfg:
    """The action term of a task that declares `panda.HAND_MOTION`, and `HAND_TURN` and `GRIPPER` where it likes.

    `settings` are others of `HandActionCfg`. Raises `ValueError` for other actions, or another order.
    """
    yaw, gripper = HAND_TURN in spec.actions, GRIPPER in spec.actions
    if spec.actions != (HAND_MOTION, *[HAND_TURN] * yaw, *[GRIPPER] * gripper):
        raise ValueError(f"{spec.name}: actions of a hand are its motion, turn and gripper, in this order")
    return HandActionCfg(yaw=yaw, gripper=gripper, **settings)


def pressed(env: EnvState, limit: float) -> torch.Tensor:
    """The force on a finger is over `limit` [N] [N] bool."""
    force = env.scene["fingers"].data.net_forces_w.torch.norm(dim=-1)
    return (force > limit).any(dim=-1)


SAFETY = {
    "joint_velocity": partial(terms.joint_velocity_over, joints=ARM),
    "joint_position": partial(terms.joint_position_outside, joints=ARM),
}
HANDLING_SAFETY = SAFETY | {"contact_force": pressed}
"""Conditions of the limits that `panda.SAFETY` and `panda.HANDLING_SAFETY` declare, for `declared.safety`."""
