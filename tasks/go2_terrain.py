"""`go2-terrain`: the Go2 has to reach a goal across slopes, rough ground, stairs or a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks import go2_velocity, velocity
from tasks.spec import PARTING_CONTACTS, GradeParam, TaskSpec, Term, View, axis_actions

if TYPE_CHECKING:
    import torch
    from isaaclab.envs import ManagerBasedRLEnvCfg

    from tasks.lab_env import GradedEnv, LabEnv

NEAR = 0.4  # [m]

SPEC = TaskSpec(
    name="go2-terrain",
    summary="Reach a goal 3.2 m away, across a slope, rough ground, stairs or a gap.",
    robot="Unitree Go2",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="tasks.go2_terrain:make_env",
    observations=(
        *velocity.observations(joints=12, goal=Term("goal", 2, "m", "forward and left", sigma=0.05)),
        Term("height_scan", 187, "m", "height of the base, less 0.3 m, over 17 x 11 points around it", sigma=0.02),
    ),
    actions=(Term("joint_target", 12, "0.5 rad", "target position of each joint, relative to the standing pose"),),
    physics_dt=1 / 200,
    decimation=4,
    episode_length_s=8.0,
    success=f"base within {NEAR} m of the goal, as seen from above, before the robot falls",
    success_hold_s=0.0,
    success_when="once",
    # Which kind an episode has is drawn at random. The ground cannot change while it is simulated, so it is a grid of
    # tiles: an episode takes place on the kind's tile whose difficulty is nearest to its own, of 17 from 0 to 1.
    grades={
        "slope": GradeParam((0.05, 0.15, 0.25, 0.4, 0.55), "1", "rise over run of the slopes, up or down"),
        "roughness": GradeParam((0.01, 0.02, 0.04, 0.06, 0.09), "m", "height of the rough ground, up or down"),
        "step": GradeParam((0.02, 0.05, 0.09, 0.14, 0.2), "m", "height of a stair 0.3 m deep, up or down"),
        "gap": GradeParam((0.05, 0.12, 0.2, 0.32, 0.45), "m", "width of the gap, which is 0.95 m deep"),
    },
    budgets={"smoke": 20_000, "quick": 10_000_000, "full": 25_000_000},
    view=View(eye=(3.6, -3.6, 2.6), target=(0.0, 0.0, -0.3), follow=True, marks="tasks.terrain:marks"),
    discrete_actions=axis_actions(12),
    sensors=("contact force of the feet",),
    safety=go2_velocity.SPEC.safety,
    factors=go2_velocity.SPEC.factors,
    assets=("go2",),
    inexact=PARTING_CONTACTS,
)

FALLEN_BELOW = 0.15  # [m] over the ground around the robot
PACE = 1.0  # [m/s] that the reward asks for


def make_env(spec: TaskSpec, num_envs: int, device: str, engine: str) -> LabEnv:
    """Build the env on `engine`."""
    from tasks import locomotion
    from tasks.lab_env import LabEnv

    newton = {"njmax": 200, "nconmax": 60, "cone": "pyramidal", "impratio": 1, "use_mujoco_contacts": False}
    newton["max_triangle_pairs"] = 2_500_000
    limits = locomotion.safety(spec.safety, go2_velocity.SPEEDS)
    return LabEnv(
        spec, env_cfg(), success, safety=limits, num_envs=num_envs, device=device, engine=engine, newton=newton
    )


def env_cfg() -> ManagerBasedRLEnvCfg:
    """Scene and MDP. The rewards are those of `go2-velocity`, but for the one for getting nearer to the goal."""
    from isaaclab.managers import EventTermCfg, ObservationTermCfg, RewardTermCfg, TerminationTermCfg

    from tasks import locomotion, terms, terrain

    return locomotion.walking_env_cfg(
        scene=terms.scene(
            env_spacing=1.0,  # where the ground is made of tiles, they say where the robots start
            terrain=terrain.importer(SPEC.grades, locomotion.floor_material()),
            robot=go2_velocity.robot(),
            feet=locomotion.foot_contacts(go2_velocity.FEET),
        ),
        joints=go2_velocity.JOINTS,
        action_scale=0.5,
        command=terrain.GoalCommandCfg(pace=PACE, near=NEAR),
        goal={"goal": ObservationTermCfg(func=terrain.goal_in_base)},
        exteroception={"height_scan": ObservationTermCfg(func=terrain.height_scan)},
        events={"stand": EventTermCfg(func=terrain.stand_on_tile, mode="reset")},
        rewards=locomotion.quadruped_rewards(tilt=-0.5, torque=-2e-4, steps=0.25)
        | {"velocity": RewardTermCfg(func=terrain.progress, weight=1.5)},
        fallen=TerminationTermCfg(func=terrain.fallen, params={"height": FALLEN_BELOW}),
    )


def success(env: GradedEnv) -> torch.Tensor:
    """The robot is at the goal, and up [N] bool."""
    from tasks import terrain

    return (terrain.goal_distance(env) < NEAR) & ~terrain.fallen(env, FALLEN_BELOW)
