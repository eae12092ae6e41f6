"""Every task on real physics: what its declaration promises."""

import pytest

import tasks
from tests.helpers.simulation import PARTS, run

pytestmark = pytest.mark.sim
ENVS = {"go2-terrain": 10}  # a mesh costs several times a plane
ALIKE = [("cartpole-balance", 0.2), ("franka-reach", 0.2), ("franka-reach", 0.9)]
"""Task and largest action: on both engines; a legged robot's contacts tell them apart at once."""


@pytest.mark.parametrize("task", tasks.names())
@pytest.mark.parametrize("engine", ["ovphysx"])
def test_contract(engine, task):
    """One simulation, many checks: starting it is what costs."""
    envs = ENVS.get(task, 20)
    found = run(f"""
from pxr import Usd
env = build({task!r}, {engine!r}, {envs}, torch.arange({envs}) % 5 / 4)
spec = env.spec
first = env.reset(seed=3).clone()
report(obs=list(first.shape), difficulty=env.difficulty.tolist(), other=bool(torch.equal(first, env.reset(seed=4))))
report(same=bool(torch.equal(first, env.reset(seed=3))))
clones = env._env.sim.stage.GetPrimAtPath("/World/envs/env_0").GetChildren()
physical = [any("Physics" in name for p in Usd.PrimRange(clone) for name in p.GetAppliedSchemas()) for clone in clones]
report(clones=len(clones), without_physics=[str(c.GetPath()) for c, p in zip(clones, physical) if not p])

torch.manual_seed(0)
finite, ends, wrong_end, wrong_final = True, 0, 0, 0
successes, episodes = torch.zeros({envs}), torch.zeros({envs})
once, steps = torch.zeros({envs}, dtype=torch.bool), torch.zeros({envs}, dtype=torch.long)
for _ in range(2000):
    obs, reward, terminated, truncated, extras = env.step(torch.rand({envs}, spec.action_dim) * 2 - 1)
    done, final, steps, once = terminated | truncated, extras["final_obs"], steps + 1, once | extras["success"]
    finite &= all(bool(x.isfinite().all()) for x in (obs, reward, final[done]))
    wrong_end += int((truncated & (steps != spec.max_episode_steps)).sum() + (terminated & truncated).sum())
    wrong_final += int((final == obs).all(-1)[done].sum())
    successes += done & (extras["success"] if spec.success_when == "end" else once)
    episodes += done
    steps, once = torch.where(done, 0, steps), once & ~done
report(afresh=bool(torch.equal(first, env.reset(seed=3))))
hard = torch.arange({envs}) % 5 > 0
report(finite=finite, ends=int(episodes.sum()), wrong_end=wrong_end, wrong_final=wrong_final)
report(random=float(successes[hard].sum() / episodes[hard].sum()))
report(violations=sorted(extras["violations"]), terminations=sorted(extras["terminations"]))

env.reset(seed=5)
zero_success = torch.zeros({envs}, dtype=torch.bool)
for _ in range(spec.max_episode_steps):
    *_, terminated, truncated, extras = env.step(torch.zeros({envs}, spec.action_dim))
    zero_success |= extras["success"] & (terminated | truncated) if spec.success_when == "end" else extras["success"]
report(zero=zero_success.float().mean().item())

import tasks.cuda.record
from tests.helpers import fake_graphs
fake_graphs.use()
tasks.cuda.record.LOOKS = 60
env.record()
for step in range(tasks.cuda.record.LOOKS):
    env._env.episode_length_buf[step % {envs}] += spec.max_episode_steps  # an episode ends in every step
    env.step(torch.rand({envs}, spec.action_dim) * 2 - 1)
report(no_graph=[getattr(*owner(env, part)).why_not for part in {PARTS}])
env.close()
""")
    spec = tasks.get(task)
    assert found["obs"] == [envs, spec.obs_dim]
    assert found["difficulty"] == [i % 5 / 4 for i in range(envs)]
    assert found["same"]
    assert found["afresh"]  # nothing is left of the episodes before, such as where the fingers were
    assert not found["other"]
    assert found["clones"] > 0
    assert found["without_physics"] == []  # which OVPhysX refuses to clone on CUDA
    assert found["finite"]
    assert found["ends"] > 0
    assert found["wrong_end"] == 0
    assert found["wrong_final"] == 0
    assert found["zero"] == 0.0
    assert found["violations"] == sorted(spec.safety)
    assert "time_out" in found["terminations"]
    assert found["random"] < 0.05
    assert found["no_graph"] == [None] * len(PARTS)  # why a GPU could not do them as CUDA graphs


def test_nothing_throws_the_arm_about():
    """The Panda's first link reaches below its base: a floor at that height pushed it round at 200 rad/s."""
    found = run("""
env = build("franka-reach", "ovphysx", 16, 0.5)
env.reset(seed=3)
torch.manual_seed(0)
fastest = 0.0
for step in range(60):
    if step % 10 == 0:
        action = torch.rand(16, 7) - 0.5
    obs, *_ = env.step(action)
    fastest = max(fastest, 5.0 * obs[:, 7:14].abs().max().item())
report(fastest=fastest)
env.close()
""")
    assert found["fastest"] < 15.0


def test_an_episode_that_fails_in_its_last_step_is_terminated_and_not_truncated():
    found = run("""
env = build("cartpole-balance", "ovphysx", 8, 0.0)
env.reset(seed=3)
push, last = torch.ones(8, 1), 0
while not (ended := env.step(push)[2]).any():
    last += 1
env.reset(seed=3)
for _ in range(last):
    env.step(push)
env._set_age(torch.full((8,), env.spec.max_episode_steps - 1))
_, _, terminated, truncated, extras = env.step(push)
report(ended=ended.tolist(), terminated=terminated.tolist(), truncated=truncated.tolist())
env.close()
""")
    assert found["terminated"] == found["ended"]
    assert found["truncated"] == [not row for row in found["ended"]]


def test_objects_have_their_own_velocities_on_physx():
    """Of six cubes: a velocity has six numbers, by which Isaac Lab takes cubes for envs."""
    found = run("""
from tasks.manipulation import objects
env = build("franka-stack", "ovphysx", 2, torch.zeros(2))
env.reset(seed=0)
cubes = env._env.scene[objects.OBJECTS]
velocity = torch.zeros(2, cubes.num_bodies, 6)
velocity[..., 2] = 1.0 + 0.1 * torch.arange(12).view(2, -1)
cubes.write_body_velocity_to_sim_index(body_velocities=velocity, env_ids=torch.arange(2, dtype=torch.int32))
env.step(torch.zeros(2, env.spec.action_dim))
report(upwards=cubes.data.body_com_lin_vel_w.torch[..., 2].flatten().tolist())
env.close()
""")
    after = [1.0 + 0.1 * k - 9.81 * tasks.get("franka-stack").control_dt for k in range(12)]
    assert found["upwards"] == pytest.approx(after, abs=0.02)


@pytest.mark.parametrize("task", ["go2-velocity", "franka-lift"])
def test_a_row_that_diverges_on_newton_ends_and_starts_again(task):
    found = run(f"""
env = build({task!r}, "newton_mjwarp", 4, 0.0)
spec, robot = env.spec, env.scene["robot"]
highest = [factor.nominal if factor.held_out else factor.ranges["r3"][1] for factor in spec.factors]
env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), torch.tensor(highest).expand(len(env_ids), -1)))
env.reset(0)
where = dict(env_ids=torch.tensor([2], dtype=torch.int32))
robot.write_joint_velocity_to_sim_index(velocity=torch.full((1, robot.num_joints), torch.nan), **where)
finite = []
for step in range(10):
    obs, reward, terminated, _, extras = env.step(torch.zeros(4, spec.action_dim))
    finite.append(all(bool(x.isfinite().all()) for x in (obs, reward, extras["final_obs"])))
    if step == 0:
        report(ended=terminated.tolist(), why=extras["terminations"]["non_finite"].tolist())
report(finite=finite, diverged=env.diverged())
env.close()
""")
    assert found["ended"] == found["why"] == [False, False, True, False]
    assert found["finite"] == [True] * 10
    assert found["diverged"] == 1


@pytest.mark.parametrize(("task", "largest"), ALIKE)
def test_engines_agree(task, largest):
    """The same start and the same actions lead to about the same place: masses, gains and limits are one robot's.

    With large actions the arm's drives give all they have, and its joints are faster than Panda's URDF allows.
    """
    script = """
env = build({task!r}, {engine!r}, 8, 0.25)
start = env.reset(seed=3).clone()
torch.manual_seed(1)
action = {largest} * (torch.rand(8, env.spec.action_dim) * 2 - 1)
for _ in range(10):
    obs, *_ = env.step(action)
report(start=start.tolist(), end=obs.tolist())
env.close()
"""
    physx, newton = (
        run(script.format(task=task, largest=largest, engine=engine)) for engine in ("ovphysx", "newton_mjwarp")
    )
    width = tasks.get(task).policy_dim
    distance = moved = 0.0
    for a, b, s in zip(physx["end"], newton["end"], physx["start"], strict=True):
        distance += sum((x - y) ** 2 for x, y in zip(a[:width], b[:width], strict=True))
        moved += sum((x - y) ** 2 for x, y in zip(a[:width], s[:width], strict=True))
    assert distance**0.5 < 0.15 * moved**0.5
