"""Robots on legs, on real physics: how they stand, and on what ground."""

import pytest

import tasks
from tests.helpers.simulation import run

pytestmark = pytest.mark.sim

STAND = """
env = build({task!r}, {engine!r}, 12, 0.0)
robot, feet = env.scene["robot"].data, env.scene["feet"].data
env.reset(seed=3)
force = []
for step in range({steps}):
    env.step(torch.zeros(12, env.spec.action_dim))
    if step == 24:
        height = robot.root_pos_w.torch[:, 2].clone()
    force.append(feet.net_normal_forces_w.torch.sum(dim=1)[:, 2])
weight = 9.81 * float(robot.body_mass.torch[0].sum())
report(height=height.tolist(), load=float(torch.stack(force[24:]).mean()) / weight)
env.close()
"""


@pytest.mark.parametrize(("task", "seconds"), [("go2-velocity", 2), ("anymal-velocity", 2), ("g1-velocity", 0.8)])
def test_robot_stands_alike_on_both_engines(task, seconds):
    """Under no action, as high and with its weight on its feet; the G1 for as long as it does not lean over."""
    steps = round(seconds / tasks.get(task).control_dt)
    physx, newton = (
        run(STAND.format(task=task, engine=engine, steps=steps)) for engine in ("ovphysx", "newton_mjwarp")
    )
    assert physx["height"] == pytest.approx(newton["height"], abs=0.03)
    assert physx["load"] == pytest.approx(1.0, abs=0.1)
    assert newton["load"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_robot_stands_on_the_tile_of_its_difficulty(engine):
    """Also where difficulty lies between two tiles; the ground that it sees is the ground that it stands on."""
    found = run(f"""
from tasks.locomotion import terrain
level = torch.linspace(0.0, 1.0, 33)  # every tile, and half-way between two
env = build("go2-terrain", {engine!r}, 33, level)
first = env.reset(seed=3).clone()
scene = env.scene
start = scene["robot"].data.root_pos_w.torch.clone()
goal = terrain.goal_distance(env._env)
fallen = torch.zeros(33, dtype=torch.bool)
for _ in range(50):
    obs, _, terminated, *_ = env.step(torch.zeros(33, 12))
    fallen |= terminated
base = scene["robot"].data.root_pos_w.torch
over = base[:, 2] - scene.terrain.height_at(base[:, :2])
report(row=((start[:, 0] / terrain.TILE) + 8).tolist(), column=sorted(set((start[:, 1] / terrain.TILE).tolist())))
report(goal=goal.tolist(), fallen=int(fallen.sum()), over=over.tolist())
report(scan=(obs[:, -187:].reshape(33, 17, 11)[:, 8, 5] + 0.3).tolist())
mesh = env._env.sim.stage.GetPrimAtPath("/World/ground/terrain/mesh")
offset, rest = (mesh.GetAttribute(f"physxCollision:{{name}}Offset") for name in ("contact", "rest"))
report(offset=offset.Get(), rest=rest.HasAuthoredValue())
env.close()
""")
    for k, row in enumerate(found["row"]):
        assert abs(row - k / 2) <= 0.501
        assert row == pytest.approx(round(row), abs=1e-3)
    assert len(found["column"]) > 3
    assert all(3.19 < distance < 4.54 for distance in found["goal"])
    assert found["fallen"] == 0
    assert all(0.2 < height < 0.4 for height in found["over"])
    assert found["scan"] == pytest.approx(found["over"], abs=0.02)
    assert found["offset"] == pytest.approx(0.02)
    assert not found["rest"]  # Newton takes both or none
