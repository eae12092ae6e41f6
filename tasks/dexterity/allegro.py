"""The Allegro hand, and the orientations that a thing in it is to be turned to."""

from __future__ import annotations

import math
from dataclasses import MISSING

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg
from isaaclab.utils import configclass, index_fill_
from isaaclab.utils.math import quat_apply
from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg

from tasks.core.draws import direction
from tasks.core.env_state import EnvState
from tasks.cuda import rotations
from tasks.cuda.record import starts
from tasks.isaaclab import assets, terms
from tasks.manipulation import objects

JOINTS = tuple(f"tn__joint_{k}0_.*" for k in range(16))
"""Index, middle and ring finger and thumb, each from the palm outwards; the converter spells `joint_3.0` like this."""

TIPS = tuple(f"tn__link_{k}0_.*" for k in (3, 7, 11, 15))
TIP_OFFSETS = ((0.0, 0.0, 0.0267),) * 3 + ((0.0, 0.0, 0.0423),)  # [m] the converter merges a tip into its last link
HOLDING = (
    *(0.0, 0.1, 0.9, 0.6),
    *(0.0, 0.1, 0.9, 0.6),
    *(0.0, 0.1, 0.9, 0.6),
    *(0.9, 0.4, 0.4, 0.5),
)
"""Joint positions [rad], in the order of `JOINTS`, that make a bowl of the hand."""

PALM_UP = (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0)  # (x, y, z, w): the fingers along x, the palm towards z


def hand(height: float) -> ArticulationCfg:
    """The hand on a fixed base, palm up, `height` [m] over the floor; drives as in Isaac Lab's own Allegro hand."""
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(assets.usd_path("allegro")),
            fix_root_link=True,
            rigid_props=[
                PhysxRigidBodyCfg(max_depenetration_velocity=5.0, disable_gravity=True),
                MujocoRigidBodyCfg(gravcomp=1.0),
            ],
            # The boxes of the URDF are coarse: with collisions between them the thumb could not move aside.
            articulation_props=terms.no_self_collisions(position_iterations=8),
            physics_material=objects.friction(),
        ),
        init_state=ArticulationCfg.InitialStateCfg(
            pos=(0.0, 0.0, height), rot=PALM_UP, joint_pos=dict(zip(JOINTS, HOLDING, strict=True))
        ),
        actuators={
            "fingers": ImplicitActuatorCfg(
                joint_names_expr=[".*"],
                joint_effort_limit=0.5,
                stiffness=3.0,
                damping=0.1,
                armature=1e-3,
                # What the URDF gives as friction and damping holds every joint where it is.
                friction=0.0,
                dynamic_friction=0.0,
                viscous_friction=0.0,
            )
        },
    )


def tip_positions(env: EnvState) -> torch.Tensor:
    """Centres of the four finger tips in the frame of the env [N, 4, 3] [m]."""
    robot, (links, offset) = env.scene["robot"], env.once(_tips)
    position = robot.data.body_pos_w.torch[:, links] + quat_apply(robot.data.body_quat_w.torch[:, links], offset)
    return position - env.scene.env_origins[:, None]


def _tips(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    links = env.scene["robot"].find_bodies(list(TIPS), preserve_order=True)[0]
    offset = torch.tensor(TIP_OFFSETS, device=env.device).expand(env.num_envs, 4, 3)
    return torch.tensor(links, device=env.device), offset


def joint_ids(env: EnvState) -> torch.Tensor:
    """Indices of `JOINTS` [16], on the device."""
    ids = env.scene["robot"].find_joints(list(JOINTS), preserve_order=True)[0]
    return torch.tensor(ids, device=env.device)


class TargetChange(mdp.JointPositionAction):
    """Moves the target position of every joint: an action of 1 by `scale` [rad] in a control step; 0 holds the hand.

    Isaac Lab's relative action starts from where the joint is, so a hand that holds something up would sink.
    """

    cfg: TargetChangeCfg

    def __init__(self, cfg: TargetChangeCfg, env: EnvState) -> None:
        """Start with the hand held as it is."""
        super().__init__(cfg, env)
        self._low, self._high = self._asset.data.joint_pos_limits.torch[:, self._joint_ids].unbind(dim=-1)
        self._processed_actions = self._offset.clone()

    def reset(self, env_ids: torch.Tensor | None = None) -> None:
        """Hold the hand in rows `env_ids` as it is at the start."""
        super().reset(env_ids)
        rows = slice(None) if env_ids is None else env_ids
        self._processed_actions[rows] = self._offset[rows]

    def process_actions(self, actions: torch.Tensor) -> None:
        """Move the targets [N, 16] [rad] by actions [N, 16]."""
        self._raw_actions[:] = actions
        self._processed_actions.add_(actions, alpha=self._scale).clamp_(self._low, self._high)


@configclass
class TargetChangeCfg(mdp.JointPositionActionCfg):
    """See `TargetChange`."""

    class_type: type = TargetChange


class Orientations(terms.EpisodeCommand):
    """Orientations to reach one after the other: the next one is set when one has been held for the task's hold time.

    Each is the one before, turned by an angle between `smallest` and the grade's `rotation`, about an axis that leans
    from the vertical, up or down, by at most the grade's `tilt`.

    Attributes:
        reached: how many have been reached in this episode [N].
        just_reached: one was reached in the last step [N] bool.
    """

    cfg: OrientationsCfg

    def __init__(self, cfg: OrientationsCfg, env: EnvState) -> None:
        """Start with no rotation anywhere."""
        super().__init__(cfg, env)
        self._goal = torch.zeros(self.num_envs, 4, device=self.device)
        self._goal[:, 3] = 1.0
        self._held = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self.reached = torch.zeros_like(self._held)
        self.just_reached = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)

    @property
    def command(self) -> torch.Tensor:
        """The orientation to reach [N, 4] (x, y, z, w)."""
        return self._goal

    def begin(self, env_ids: torch.Tensor, orientation: torch.Tensor) -> None:
        """Set the first goal of rows `env_ids` [k], in which the thing starts with `orientation` [k, 4]."""
        rows = self._env.rows(env_ids)
        turn = starts(self._env, env_ids, self._turn)
        self._goal.index_copy_(0, rows, rotations.multiply(turn, orientation))
        for state in (self._held, self.reached, self.just_reached):
            index_fill_(state, env_ids, 0)

    def _turn(self, env: EnvState, of_step: bool = False) -> torch.Tensor:
        """How far each next orientation is turned from the one before [N, 4]."""
        draw = env.draws.uniform("turn", 4, of_step=of_step).unbind(dim=1)
        angle = self.cfg.smallest + draw[0] * (env.param("rotation") - self.cfg.smallest)
        (down, aside), way = direction(env.param("tilt") * draw[1]).unbind(dim=1), direction(2.0 * math.pi * draw[2])
        up = torch.where(draw[3] < 0.5, -1.0, 1.0)
        return rotations.about(angle, torch.cat((aside[:, None] * way, (down * up)[:, None]), dim=-1))

    def _update_command(self) -> None:
        near = self.cfg.error(self._env) < self._env.param("tolerance")
        self._held.add_(1).mul_(near)
        torch.ge(self._held, self._env.task.success_hold_steps, out=self.just_reached)
        self.reached += self.just_reached
        self._held.masked_fill_(self.just_reached, 0)
        turned = rotations.multiply(self._turn(self._env, of_step=True), self._goal)
        torch.where(self.just_reached[:, None], turned, self._goal, out=self._goal)

    def _resample_command(self, env_ids: torch.Tensor) -> None:
        pass  # the reset calls `begin`, since it knows how the thing starts


@configclass
class OrientationsCfg(terms.EpisodeCommandCfg):
    """See `Orientations`; `error` gives the angle from the goal [N] [rad]."""

    class_type: type = Orientations
    error: object = MISSING
    smallest: float = MISSING  # [rad]
