"""Every fast path against the public ways of the libraries: the same bits on a CPU.

First without factors, then with all of them (those that are held out, too) from their whole range of evaluation.
A few tasks stand for all; `GRADUS_NIGHTLY=1` takes every task.
"""

import os

import pytest

import tasks
from tasks.core.fast import SWITCH
from tests.helpers.simulation import run

pytestmark = pytest.mark.sim

STEPS = 40
SAMPLE = {"ovphysx": ("cartpole-balance", "ant-run", "franka-stack"), "newton_mjwarp": ("go2-velocity", "franka-stack")}


def chosen(engine):
    every = [name for name in tasks.names() if engine in tasks.get(name).engines]
    return every if os.environ.get("GRADUS_NIGHTLY") == "1" else [name for name in every if name in SAMPLE[engine]]


SCRIPT = """
import hashlib

n, steps = 6, {steps}
env = tasks.get({task!r}).build(n, "cpu", {engine!r})
levels = torch.arange(n) / (n - 1)

def act():
    return torch.rand(n, env.spec.action_dim) * 2 - 1

def rollout():
    # A hash of each output in each step, and the observations.
    seen, values = [], []
    torch.manual_seed(1)
    outputs = {{"obs": env.reset(0)}}
    for step in range(steps + 1):
        outputs |= {{"factors": env.factors, "difficulty": env.difficulty}}
        seen.append({{k: hashlib.sha256(v.numpy().tobytes()).hexdigest() for k, v in outputs.items()}})
        values.append(outputs["obs"].flatten().tolist())
        if step % 3 == 2:  # a row ends
            age = torch.arange(n)
            age[step % n] = env.spec.max_episode_steps - 1
            env._set_age(age)
        obs, reward, terminated, truncated, extras = env.step(act())
        outputs = {{"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated}}
        outputs |= {{"success": extras["success"], "final_obs": extras["final_obs"], **extras["violations"]}}
    return {{"seen": seen, "values": values}}

env.set_sampler(lambda env_ids: levels[env_ids.long()])
nominal = rollout()
low, high = torch.tensor([factor.evaluation for factor in env.spec.factors]).T
draw = torch.Generator().manual_seed(0)

def sample(env_ids):
    k = len(env_ids)
    return levels[env_ids.long()], low + (high - low) * torch.rand(k, len(low), generator=draw)

env.set_sampler(sample)
if {newtons_constants}:
    env._changes.why_not = "asked for"
report(nominal=nominal, factors=rollout(), way=type(env._env._physics).__name__)
"""


def rollouts(task, engine, newtons_constants=False):
    script = SCRIPT.format(task=task, engine=engine, steps=STEPS, newtons_constants=newtons_constants)
    return [run(script, **{SWITCH: value}) for value in ("0", "1")]


def parted(public, fast):
    """The first step and output in which two rollouts differ, and by how much their observations do then; or None."""
    for step, (one, other) in enumerate(zip(public["seen"], fast["seen"], strict=True)):
        if names := [name for name in one if one[name] != other[name]]:
            pairs = zip(public["values"][step], fast["values"][step], strict=True)
            return step, names, max(abs(a - b) for a, b in pairs)
    return None


@pytest.mark.parametrize("task", chosen("ovphysx"))
def test_on_ovphysx_every_bit_is_the_same(task):
    public, fast = rollouts(task, "ovphysx")
    assert (public["way"], fast["way"]) == ("Stepwise", "Held")
    for kind in "nominal", "factors":
        found = parted(public[kind], fast[kind])
        # Where two runs of PhysX part at a contact, the two ways may as well: they have to begin alike.
        assert found is None or ("ovphysx" in tasks.get(task).inexact and found[0] > 5)


@pytest.mark.parametrize("task", chosen("newton_mjwarp"))
def test_on_newton_every_bit_is_the_same_but_for_the_models_constants(task):
    """Effective masses and weights of constraints that follow from changed masses and armatures are left out here.

    MuJoCo-Warp computes them in single precision, `tasks.isaaclab.newton.model` in double precision.
    `test_sim_newton_model.py` compares both, and the motion that follows from them.
    """
    public, fast = rollouts(task, "newton_mjwarp", newtons_constants=True)
    assert parted(public["nominal"], fast["nominal"]) is None
    assert parted(public["factors"], fast["factors"]) is None
