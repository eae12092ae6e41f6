"""Episodes start alike (`tasks.core.draws`) whatever a policy does, on every engine and in a batch of any size."""

import pytest

from tests.helpers.simulation import run

pytestmark = pytest.mark.sim

ENGINES = ("ovphysx", "newton_mjwarp")
SCRIPT = """
import hashlib

def starts(env, act):
    # A hash of the first observations of rows 0 to 2 in each of their first four episodes.
    obs = env.reset(5)
    found = [[row.clone()] for row in obs[:3]]
    for step in range(400):
        if step % 30 == 29:
            env._env.episode_length_buf[:3] += env.spec.max_episode_steps
        obs, _, terminated, truncated, _ = env.step(act())
        for row in (terminated | truncated)[:3].nonzero().squeeze(-1).tolist():
            found[row].append(obs[row].clone())
        if min(map(len, found)) >= 4:
            break
    episodes = zip(*(rows[:4] for rows in found))
    return [hashlib.sha256(torch.stack(rows).numpy().tobytes()).hexdigest() for rows in episodes]

env = build({task!r}, {engine!r}, {num_envs}, 0.5)
idle = starts(env, lambda: torch.zeros({num_envs}, env.spec.action_dim))
wild = starts(env, lambda: torch.rand({num_envs}, env.spec.action_dim) * 2 - 1)
report(idle=idle, wild=wild)
env.close()
"""


def found(task, engine, num_envs):
    seen = run(SCRIPT.format(task=task, engine=engine, num_envs=num_envs))
    assert len(set(seen["idle"])) == 4
    assert seen["idle"] == seen["wild"]
    return seen["idle"]


def test_a_walking_robot_starts_alike_on_both_engines_and_among_more_rows():
    assert found("go2-velocity", "ovphysx", 4) == found("go2-velocity", "newton_mjwarp", 8)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_hand_starts_with_does_not_depend_on_what_it_did(engine):
    found("franka-lift", engine, 4)
