"""`g1-velocity`: the G1 has to walk at a commanded velocity on two legs, whatever pushes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks import factors, velocity
from tasks.spec import GradeParam, SafetyLimit, TaskSpec, Term, View, axis_actions

if TYPE_CHECKING:
    import torch
    from isaaclab.assets import ArticulationCfg
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.lab_env import GradedEnv, LabEnv

# A walking pelvis sways and turns with every step, so the tolerances are wider than those of the quadrupeds.
PLANAR_ERROR, YAW_ERROR = 0.35, 0.5  # [m/s], [rad/s]
SLOWEST = 0.5  # [m/s]: more than the tolerance, so standing still is never enough

SPEC = TaskSpec(
    name="g1-velocity",
    summary="Walk on two legs at a commanded velocity and yaw rate on flat ground, and stay up when pushed.",
    robot="Unitree G1",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.g1_velocity:make_env",
    observations=velocity.observations(joints=12),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each leg joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=10.0,
    success=velocity.success(PLANAR_ERROR, YAW_ERROR),
    success_hold_s=0.0,
    success_when="end",
    grades={
        "speed": GradeParam((0.6, 0.8, 1.0, 1.5, 2.0), "m/s", "fastest commanded speed, within 30° of straight ahead"),
        "yaw_rate": GradeParam((0.3, 0.5, 0.8, 1.2, 1.6), "rad/s", "fastest commanded turn"),
        "push": GradeParam((0.0, 0.2, 0.4, 0.7, 1.0), "m/s", "largest change of velocity in a push, along each axis"),
    },
    budgets={"smoke": 60_000, "quick": 20_000_000, "full": 40_000_000},
    view=View(eye=(1.9, -1.9, 0.6), target=(0.0, 0.0, -0.15), follow=True, marks="tasks.locomotion:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=velocity.safety(
        foot_force=1310.0,
        joint_velocity=SafetyLimit(20.0, "rad/s", "speed of a hip's roll or a knee, limit in Unitree's URDF"),
        swing_velocity=SafetyLimit(32.0, "rad/s", "speed of a hip's pitch or yaw, limit in Unitree's URDF"),
        ankle_velocity=SafetyLimit(30.0, "rad/s", "speed of an ankle, limit in Unitree's URDF"),
    ),
    factors=factors.legged("torso_link", weight=33.0, length=0.2, torque=25.0),
    assets=("g1",),
)

LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
JOINTS = tuple(f"{side}_{joint}_joint" for joint in LEG for side in ("left", "right"))
FEET = ".*_ankle_roll_link"
STANDING = {".*_hip_pitch_joint": -0.2, ".*_knee_joint": 0.42, ".*_ankle_pitch_joint": -0.23}
STANDING |= {".*_shoulder_pitch_joint": 0.35, ".*_elbow_joint": 0.87}
STANDING |= {"left_shoulder_roll_joint": 0.16, "right_shoulder_roll_joint": -0.16}
FALLEN_BELOW = 0.5  # [m]


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks import locomotion
    from tasks.lab_env import LabEnv

    newton = {"njmax": 120, "nconmax": 40, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    speeds = {
        "joint_velocity": ".*_(hip_roll|knee)_joint",
        "swing_velocity": ".*_hip_(pitch|yaw)_joint",
        "ankle_velocity": ".*_ankle_.*_joint",
    }
    limits = locomotion.safety(spec.safety, speeds)
    return LabEnv(
        spec, env_cfg(), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def robot() -> ArticulationCfg:
    """The G1, its legs under position control and its upper body held in the standing pose.

    Gains and pose are those of Isaac Lab's own G1, but for the ankles, whose gains are those of unitree_rl_gym: with
    half as much, a full action moves an ankle by less torque than standing on the toes takes. Effort limits are those
    of Unitree's URDF. Under no action the robot leans over and falls within two seconds: balance is the policy's task.
    """
    from isaaclab.actuators import ImplicitActuatorCfg

    from tasks import locomotion, terms

    legs = ImplicitActuatorCfg(
        joint_names_expr=[".*_hip_.*", ".*_knee_joint"],
        joint_effort_limit={".*_hip_(pitch|yaw)_joint": 88.0, ".*_hip_roll_joint|.*_knee_joint": 139.0},  # [N·m]
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness={".*_hip_(yaw|roll)_joint": 150.0, ".*_hip_pitch_joint|.*_knee_joint": 200.0},
        damping=5.0,
        armature=0.01,
    )
    feet = ImplicitActuatorCfg(
        joint_names_expr=[".*_ankle_.*"],
        joint_effort_limit=35.0,
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness=40.0,
        damping=2.0,
        armature=0.01,
    )
    upper = ImplicitActuatorCfg(
        joint_names_expr=["waist_.*", ".*_shoulder_.*", ".*_elbow_.*", ".*_wrist_.*"],
        joint_effort_limit={"waist_yaw_joint": 88.0, "waist_(roll|pitch)_joint": 35.0}
        | {".*_(shoulder|elbow)_.*|.*_wrist_roll_joint": 25.0, ".*_wrist_(pitch|yaw)_joint": 5.0},
        joint_velocity_limit=terms.NO_SPEED_LIMIT,
        stiffness={"waist_.*": 200.0, ".*_(shoulder|elbow|wrist)_.*": 40.0},
        damping={"waist_.*": 5.0, ".*_(shoulder|elbow|wrist)_.*": 10.0},
        armature=0.01,
    )
    actuators = {"legs": legs, "feet": feet, "upper": upper}
    robot = locomotion.legged("g1", height=0.8, pose=STANDING, actuators=actuators)
    robot.soft_joint_pos_limit_factor = 0.9  # where the reward for the ankles' range starts
    return robot


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP. The rewards are those of Isaac Lab's G1 on flat ground."""
    import isaaclab.envs.mdp as mdp
    from isaaclab.managers import RewardTermCfg, SceneEntityCfg
    from isaaclab_tasks.core.velocity.mdp import feet_air_time_positive_biped, feet_slide

    from tasks import locomotion

    legs = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_.*", ".*_knee_joint"])}
    hips = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_hip_yaw_joint", ".*_hip_roll_joint"])}
    ankles = {"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_ankle_.*"])}
    feet = {"sensor_cfg": SceneEntityCfg("feet"), "asset_cfg": SceneEntityCfg("robot", body_names=[FEET])}
    return locomotion.velocity_env_cfg(
        robot=robot(),
        joints=JOINTS,
        feet=FEET,
        action_scale=0.5,
        command=locomotion.TwistCommandCfg(slowest=SLOWEST, direction=math.radians(30)),
        fallen_below=FALLEN_BELOW,
        rewards={
            "velocity": RewardTermCfg(func=locomotion.tracks_velocity, weight=1.0),
            "yaw_rate": RewardTermCfg(func=locomotion.tracks_yaw_rate, weight=1.0),
            "fallen": RewardTermCfg(func=mdp.is_terminated, weight=-200.0),
            "vertical_velocity": RewardTermCfg(func=mdp.lin_vel_z_l2, weight=-0.2),
            "tilt_rate": RewardTermCfg(func=mdp.ang_vel_xy_l2, weight=-0.05),
            "tilt": RewardTermCfg(func=mdp.flat_orientation_l2, weight=-1.0),
            "torque": RewardTermCfg(func=mdp.joint_torques_l2, weight=-2e-6, params=legs),
            "acceleration": RewardTermCfg(func=mdp.joint_acc_l2, weight=-1e-7, params=legs),
            "action_rate": RewardTermCfg(func=mdp.action_rate_l2, weight=-0.005),
            "ankle_limits": RewardTermCfg(func=mdp.joint_pos_limits, weight=-1.0, params=ankles),
            "hip_pose": RewardTermCfg(func=mdp.joint_deviation_l1, weight=-0.1, params=hips),
            "slide": RewardTermCfg(func=feet_slide, weight=-0.1, params=feet),
            "steps": RewardTermCfg(
                func=feet_air_time_positive_biped,
                weight=0.75,
                params={"command_name": "twist", "sensor_cfg": SceneEntityCfg("feet"), "threshold": 0.4},
            ),
        },
    )


def success(env: GradedEnv) -> torch.Tensor:
    """The command was followed to the end, and the robot is up [N] bool."""
    from tasks import locomotion

    return locomotion.followed(env, PLANAR_ERROR, YAW_ERROR) & ~locomotion.fallen(env, FALLEN_BELOW)
