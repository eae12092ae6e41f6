"""Robots on the ground: what the locomotion tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from functools import partial
from typing import Any

import isaaclab.envs.mdp as mdp
import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import ArticulationCfg, AssetBaseCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import (
    CommandTermCfg,
    EventTermCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import ContactSensorCfg
from isaaclab.sim.spawners.materials import UsdPhysicsRigidBodyMaterialCfg
from isaaclab.utils import configclass
from isaaclab.utils.math import quat_apply, yaw_quat
from isaaclab_newton.sim.spawners.materials import NewtonMaterialCfg
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg
from isaaclab_physx.sim.spawners.materials.physics_materials_cfg import PhysxMaterialCfg

from tasks.core.draws import direction
from tasks.core.env_state import EnvState
from tasks.cuda.record import starts
from tasks.isaaclab import assets, declared, terms
from tasks.isaaclab.camera import Mark
from tasks.spec import TaskSpec


def floor() -> AssetBaseCfg:
    """A flat floor on which the robot's friction counts alone, on every engine.

    PhysX averages the two coefficients of a contact and MuJoCo takes the larger one, and their defaults differ. So
    the floor has next to none, both take the larger one, and `grip` sets the robot's.
    """
    cfg = terms.ground()
    cfg.spawn.physics_material = floor_material()
    return cfg


def floor_material() -> list[Any]:
    """See `floor`."""
    return [
        UsdPhysicsRigidBodyMaterialCfg(static_friction=0.01, dynamic_friction=0.01, restitution=0.0),
        PhysxMaterialCfg(friction_combine_mode="max"),
        NewtonMaterialCfg(contact_stiffness=160000.0, contact_damping=1100.0),
    ]


def grip(friction: float = 1.0) -> EventTermCfg:
    """Set the coefficient of friction of all of the robot, once."""
    return EventTermCfg(
        func=mdp.randomize_rigid_body_material,
        mode="startup",
        params={
            "asset_cfg": SceneEntityCfg("robot"),
            "static_friction_range": (friction, friction),
            "dynamic_friction_range": (friction, friction),
            "restitution_range": (0.0, 0.0),
            "num_buckets": 1,
        },
    )


def legged(asset: str, height: float, pose: dict[str, float], actuators: dict[str, Any]) -> ArticulationCfg:
    """A legged robot on a floating base, `height` [m] above the floor in the given `pose` [rad]."""
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(
            usd_path=str(assets.usd_path(asset)),
            activate_contact_sensors=True,
            rigid_props=[PhysxRigidBodyCfg(max_depenetration_velocity=1.0)],
            articulation_props=terms.no_self_collisions(),
        ),
        init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, height), joint_pos=pose),
        actuators=actuators,
    )


def ordered(joints: Sequence[str]) -> SceneEntityCfg:
    """The robot's joints in the given order: each engine has its own, and a policy is to run on all of them."""
    return SceneEntityCfg("robot", joint_names=list(joints), preserve_order=True)


class TwistCommand(terms.EpisodeCommand):
    """A velocity to follow: forward and left [m/s] and yaw rate [rad/s], one per episode.

    The planar speed is uniform between `slowest` and the grade's `speed`, its direction uniform within `direction` of
    straight ahead, the yaw rate uniform up to the grade's `yaw_rate` either way.
    The metrics are sums over the episode of the errors in planar velocity [m/s] and yaw rate [rad/s]. Robots start at
    rest, so the first errors of an episode are the command itself.
    """

    cfg: TwistCommandCfg

    def __init__(self, cfg: TwistCommandCfg, env: EnvState) -> None:
        """Start with no command anywhere."""
        super().__init__(cfg, env)
        self._twist = torch.zeros(self.num_envs, 3, device=self.device)
        self._sums = torch.zeros(self.num_envs, 2, device=self.device)
        self.metrics = {"planar_error": self._sums[:, 0], "yaw_error": self._sums[:, 1]}

    @property
    def command(self) -> torch.Tensor:
        """The twist in the base's horizontal frame [N, 3]."""
        return self._twist

    def _resample_command(self, env_ids: torch.Tensor) -> None:
        rows = env_ids.long()
        twist, sums = starts(self._env, env_ids, self._first)
        self._twist.index_copy_(0, rows, twist)
        self._sums.index_copy_(0, rows, sums)

    def _first(self, env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
        """Commands [N, 3] and the first errors [N, 2]."""
        draw = env.draws.uniform("twist", 3)
        speed = self.cfg.slowest + draw[:, 0] * (env.param("speed") - self.cfg.slowest)
        planar = speed[:, None] * direction(self.cfg.direction * (2.0 * draw[:, 1] - 1.0))
        yaw_rate = env.param("yaw_rate") * (2.0 * draw[:, 2] - 1.0)
        return torch.cat((planar, yaw_rate[:, None]), dim=-1), torch.stack((speed, yaw_rate.abs()), dim=-1)

    def note(self) -> None:
        """Add the errors now, which rewards have needed too."""
        self._update_metrics()

    def _update_metrics(self) -> None:
        self._sums += torch.stack(self._env.now(twist_error), dim=-1)

    def _update_command(self) -> None:
        """Nothing to do: a command stays what it is."""


@configclass
class TwistCommandCfg(terms.EpisodeCommandCfg):
    """See `TwistCommand`."""

    class_type: type = TwistCommand
    slowest: float = MISSING  # [m/s]
    direction: float = MISSING  # [rad]


def twist_error(env: EnvState) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance of the base's planar velocity [N] [m/s] and of its yaw rate [N] [rad/s] from the command, now."""
    robot, command = env.scene["robot"].data, env.command_manager.get_command("twist")
    yaw, (x, y, _) = robot.heading_w.torch, robot.root_lin_vel_w.torch.unbind(dim=-1)
    cos, sin = yaw.cos(), yaw.sin()
    planar = torch.hypot(command[:, 0] - (cos * x + sin * y), command[:, 1] - (cos * y - sin * x))
    return planar, (command[:, 2] - robot.root_ang_vel_w.torch[:, 2]).abs()


def tracks_velocity(env: EnvState) -> torch.Tensor:
    """Nearness to the commanded planar velocity: 1 on it, 0.37 at 0.5 m/s from it [N]."""
    return (-4.0 * env.now(twist_error)[0].square()).exp()


def tracks_yaw_rate(env: EnvState) -> torch.Tensor:
    """Nearness to the commanded yaw rate: 1 on it, 0.37 at 0.5 rad/s from it [N]."""
    return (-4.0 * env.now(twist_error)[1].square()).exp()


def time_is_up(env: EnvState) -> torch.Tensor:
    """The episode has lasted its full time [N] bool: what holds on average is judged then, not before."""
    return env.episode_length_buf >= env.max_episode_length


def followed(env: EnvState, planar: float, yaw: float) -> torch.Tensor:
    """Mean errors over the whole episode were at most `planar` [m/s] and `yaw` [rad/s] [N] bool."""
    sums, steps = env.command_manager.get_term("twist").metrics, env.episode_length_buf
    return time_is_up(env) & (sums["planar_error"] <= planar * steps) & (sums["yaw_error"] <= yaw * steps)


def fallen(env: EnvState, height: float, tilt: float = 1.0) -> torch.Tensor:
    """The base is lower than `height` [m] or leans by more than `tilt` [rad] [N] bool."""
    return env.now(_is_down, height, tilt)


def _is_down(env: EnvState, height: float, tilt: float) -> torch.Tensor:
    return mdp.root_height_below_minimum(env, height) | mdp.bad_orientation(env, tilt)


def push(env: EnvState, env_ids: torch.Tensor) -> None:
    """Change the base's planar velocity by up to the grade's `push` [m/s] along each axis."""
    robot, rows = env.scene["robot"], env.rows(env_ids)
    velocity = robot.data.root_vel_w.torch[rows]
    kick = env.draws.within("push", 2, of_step=True)[rows]
    velocity[:, :2] += env.param("push", rows)[:, None] * kick
    env.runtime.put_root(env, env_ids, velocity)


def safety(spec: TaskSpec, speeds: Mapping[str, str]) -> dict[str, declared.Condition]:
    """The condition "crossed now" of every limit that a walking robot declares.

    `speeds` names the limits on joint speed, each with the pattern of its joints; the others are `joint_position`,
    `joint_torque` and `foot_force`.
    """
    return declared.safety(
        spec,
        **{name: partial(terms.joint_velocity_over, joints=joints) for name, joints in speeds.items()},
        joint_position=terms.joint_position_outside,
        joint_torque=terms.joint_torque_over,
        foot_force=foot_force_over,
    )


def foot_force_over(env: EnvState, limit: float) -> torch.Tensor:
    """Some foot presses on the floor with more than `limit` [N] [N] bool."""
    return (env.scene["feet"].data.net_normal_forces_w.torch.norm(dim=-1) > limit).any(dim=-1)


def marks(env: EnvState) -> list[Mark]:
    """Lines over the base to where half a second takes it: at the commanded velocity green, at its own orange."""
    robot, command = env.scene["robot"].data, env.command_manager.get_command("twist")
    start = robot.root_pos_w.torch - env.scene.env_origins + torch.tensor((0.0, 0.0, 0.2), device=env.device)
    velocity = robot.root_lin_vel_w.torch * torch.tensor((1.0, 1.0, 0.0), device=env.device)
    wanted = torch.cat((command[:, :2], torch.zeros_like(command[:, :1])), dim=-1)
    wanted = quat_apply(yaw_quat(robot.root_quat_w.torch), wanted)
    return [
        (color, torch.stack((start, start + 0.5 * v), dim=1)) for color, v in (("lime", wanted), ("orange", velocity))
    ]


def quadruped_rewards(tilt: float, torque: float, steps: float) -> dict[str, RewardTermCfg]:
    """Rewards of Isaac Lab's quadrupeds on flat ground, with the weights in which those differ."""
    return {
        "velocity": RewardTermCfg(func=tracks_velocity, weight=1.5),
        "yaw_rate": RewardTermCfg(func=tracks_yaw_rate, weight=0.75),
        "fallen": RewardTermCfg(func=mdp.is_terminated, weight=-100.0),
        "vertical_velocity": RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-2.0),
        "tilt_rate": RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05),
        "tilt": RewardTermCfg(func=mdp.flat_orientation_l2, weight=tilt),
        "torque": RewardTermCfg(func=mdp.joint_torques_l2, weight=torque),
        "acceleration": RewardTermCfg(func=mdp.joint_acc_l2, weight=-2.5e-7),
        "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.01),
        "steps": RewardTermCfg(func=long_steps, weight=steps, params={"threshold": 0.5}),
    }


def long_steps(env: EnvState, threshold: float) -> torch.Tensor:
    """Time that feet which land now were in the air, less `threshold` [s], if the robot is to move [N].

    Isaac Lab's `feet_air_time`, which launches a kernel to find out which feet land.
    """
    feet = env.scene["feet"].data
    contact = feet.current_contact_time.torch
    lands = (contact > 0.0) & (contact < env.step_dt + 0.5 * env.physics_dt)
    reward = ((feet.last_air_time.torch - threshold) * lands).sum(dim=1)
    return reward * (env.command_manager.get_command("twist")[:, :2].norm(dim=1) > 0.1)


def velocity_env_cfg(
    spec: TaskSpec,
    *,
    robot: ArticulationCfg,
    joints: Sequence[str],
    feet: str,
    action_scale: float,
    command: TwistCommandCfg,
    fallen_below: float,
    rewards: dict[str, Any],
) -> ManagerBasedRLEnvCfg:
    """Scene and MDP of following a commanded velocity on flat ground.

    Args:
        spec: the task.
        robot: what walks.
        joints: the joints that the policy sees and moves, in their order.
        feet: name pattern of the links that touch the ground, for the contact sensor `feet`.
        action_scale: offset from the robot's standing pose at full action [rad].
        command: the commands' distribution.
        fallen_below: height of the base under which it counts as fallen [m].
        rewards: the reward terms by name.
    """
    return walking_env_cfg(
        spec,
        # Robots of two envs pass through each other, so the distance between them does not matter.
        scene=terms.scene(env_spacing=1.0, floor=floor(), robot=robot, feet=foot_contacts(feet)),
        joints=joints,
        action_scale=action_scale,
        command=command,
        observed={"command": ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "twist"})},
        events={
            "stand": EventTermCfg(func=terms.stand, mode="reset", params={"yaw": 3.14}),
            "push": EventTermCfg(func=push, mode="interval", interval_range_s=(2.0, 4.0)),
        },
        rewards=rewards,
        fallen=TerminationTermCfg(func=fallen, params={"height": fallen_below}),
    )


class FootContactsCfg(ContactSensorCfg):
    """A contact sensor of normal forces alone on OVPhysX, where friction costs a read: nobody asks for that of feet.

    `friction` belongs to the class and is no field, since Newton's sensor takes Isaac Lab's fields alone.
    """

    friction = False


def foot_contacts(feet: str) -> FootContactsCfg:
    """The contact sensor of the links that match `feet`. On OVPhysX of normal forces alone."""
    return FootContactsCfg(prim_path=f"{{ENV_REGEX_NS}}/Robot/Geometry/{feet}", track_air_time=True)


def walking_env_cfg(
    spec: TaskSpec,
    *,
    scene: InteractiveSceneCfg,
    joints: Sequence[str],
    action_scale: float,
    command: CommandTermCfg,
    observed: dict[str, ObservationTermCfg],
    events: dict[str, EventTermCfg],
    rewards: dict[str, Any],
    fallen: TerminationTermCfg,
) -> ManagerBasedRLEnvCfg:
    """MDP of a robot that moves its joints about its standing pose to follow the command `twist`.

    Args:
        spec: the task.
        scene: with the entities `robot` and `feet`.
        joints: the joints that the policy sees and moves, in their order.
        action_scale: offset from the robot's standing pose at full action [rad].
        command: the command, under the name `twist`.
        observed: observations of what is to be done, and of the surroundings.
        events: where the robot starts, and what happens to it.
        rewards: the reward terms by name.
        fallen: what ends an episode early.
    """
    by_joint = {"asset_cfg": ordered(joints)}
    return terms.env_cfg(
        scene=scene,
        commands={"twist": command},
        observations=declared.observations(
            spec,
            mdp,
            linear_velocity=ObservationTermCfg(func=mdp.base_lin_vel),
            angular_velocity=ObservationTermCfg(func=mdp.base_ang_vel),
            gravity=ObservationTermCfg(func=mdp.projected_gravity),
            joint_position=ObservationTermCfg(func=mdp.joint_pos_rel, params=by_joint),
            joint_velocity=ObservationTermCfg(func=mdp.joint_vel, params=by_joint, scale=0.1),
            **observed,
        ),
        actions=declared.action(
            spec,
            mdp.JointPositionActionCfg(
                asset_name="robot", joint_names=list(joints), preserve_order=True, scale=action_scale
            ),
        ),
        events={
            "grip": grip(),
            "joints": EventTermCfg(func=terms.bend, mode="reset", params={"joints": tuple(joints), "offset": 0.1}),
            **events,
        },
        rewards=rewards,
        terminations={"time_out": TerminationTermCfg(func=mdp.time_out, time_out=True), "fallen": fallen},
    )
