"""`allegro-reorient` on both engines."""

import pytest

from tests.helpers.simulation import run

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_cube_rests_in_the_palm_and_goals_follow_one_another(engine):
    """A hand that is held still neither drops nor turns the cube; what it is turned to otherwise counts as declared."""
    found = run(f"""
from isaaclab.utils.math import quat_error_magnitude
from tasks.dexterity.allegro_reorient import mdp as task
from tasks.manipulation import objects
env = build("allegro-reorient", {engine!r}, 16, torch.arange(16) % 5 / 4)
env.reset(seed=1)
inside, still = env._env, torch.zeros(16, 16)
turned = objects.orientation(inside).clone()
for _ in range(50):
    _, _, terminated, _, extras = env.step(still)
    assert not terminated.any() and not extras["success"].any()
report(moved=task.distance(inside).max().item())
report(turned=quat_error_magnitude(objects.orientation(inside), turned).max().item())

goals, wanted = inside.command_manager.get_term("goal"), task.goals(inside)
report(wanted=wanted.tolist())
first_success, bonuses = torch.zeros(16), torch.zeros(16)
for step in range(1, 36):  # goals that the cube is at already, each for as long as it has to be held
    goals._goal[:] = objects.orientation(inside)
    _, _, _, _, extras = env.step(still)
    bonuses += task.reached(inside)
    first_success = torch.where(extras["success"] & (first_success == 0), step, first_success)
report(first_success=first_success.tolist(), bonuses=bonuses.tolist(), hold=env.spec.success_hold_steps)
env.close()
""")
    assert found["moved"] < 0.02
    assert found["turned"] < 0.15
    assert found["wanted"] == [(1, 1, 2, 3, 5)[i % 5] for i in range(16)]
    assert found["first_success"] == [found["hold"] * goals for goals in found["wanted"]]
    assert found["bonuses"] == [7.0] * 16


def test_contacts_without_room_are_counted():
    found = run("""
from tasks.core import engines
runtime = engines.get("newton_mjwarp").load()
build_cfg = runtime.physics_cfg
runtime.physics_cfg = lambda newton: build_cfg(newton | {"njmax": 8})
env = build("allegro-reorient", "newton_mjwarp", 4, 0.0)
env.reset(seed=1)
report(before=env.overflows())
for _ in range(5):
    env.step(torch.zeros(4, 16))
report(after=env.overflows())
env.close()
""")
    assert found["before"] == 0
    assert found["after"] == 5
