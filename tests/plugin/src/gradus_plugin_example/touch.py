"""The task franka-touch: what it declares."""

from gradus_plugin_example.dead_zone import DEAD_ZONE
from tasks.factors import catalogue
from tasks.manipulation import panda
from tasks.spec import GradeParam, TaskSpec, Term, axis_actions

SPEC = TaskSpec(
    name="franka-touch",
    summary="Bring the tip of the Panda's hand (TCP) to a point and hold it there.",
    robot="Franka Panda",
    engines=("isaacsim_physx", "ovphysx", "newton_mjwarp"),
    make_env="gradus_plugin_example.touch_mdp:make_env",
    observations=(
        *panda.arm_state("home"),
        Term("way", 3, "m", "from the TCP to the point", sigma=0.003),
        Term("last_action", 7, "1"),
    ),
    actions=(Term("joint_target", 7, "rad", "target position of each arm joint, relative to home"),),
    physics_dt=1 / 60,
    decimation=2,
    episode_length_s=3.0,
    success="TCP within the tolerance of the point",
    success_hold_s=0.5,
    success_when="once",
    grades={
        "spread": GradeParam((0.05, 0.1, 0.15, 0.2, 0.25), "m", "half the edge of the box of points"),
        "tolerance": GradeParam((0.05, 0.04, 0.03, 0.02, 0.01), "m", "largest distance from the point"),
    },
    budgets={"smoke": 100_000, "quick": 1_000_000, "full": 2_000_000},
    discrete_actions=axis_actions(7),
    safety=panda.SAFETY,
    factors=(*catalogue.arm("panda_link7"), DEAD_ZONE),
    assets=("panda",),
)
