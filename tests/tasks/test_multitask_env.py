"""Several tasks as one: columns, rows, shares, and envs in processes of their own."""

import dataclasses

import pytest
import torch

import tasks
from tasks.multitask import declare as multitask
from tasks.multitask.env import MultiTaskEnv, allot, make_env
from tasks.multitask.remote import RemoteEnv
from tasks.spec import Term

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "toy-reach+toy-line"


def test_terms_of_the_same_name_and_width_share_columns():
    reach = tasks.get("toy-reach")
    other = dataclasses.replace(
        reach,
        name="toy-other",
        observations=(reach.observations[2], Term("height", 1, "m"), reach.observations[0]),
        critic_observations=(Term("mass", 1, "1"),),
    )
    spec = multitask.declare([reach, other])
    assert [(term.name, term.dim) for term in spec.observations] == [
        *(("position", 2), ("velocity", 2), ("goal", 2), ("height", 1), ("task", 2)),
    ]
    assert spec.obs_columns(0) == [0, 1, 2, 3, 4, 5]
    assert spec.obs_columns(1) == [4, 5, 6, 0, 1, 9]  # the critic's is behind all that the policy sees
    assert spec.action_columns(0) == spec.action_columns(1) == [0, 1]
    assert [spec.task_column(k) for k in range(2)] == [7, 8]
    assert spec.discrete_actions == reach.discrete_actions
    assert spec.budgets["smoke"] == 200_000


@pytest.mark.parametrize("name", ["go2-velocity+go2-terrain", "franka-reach+franka-push+franka-lift+franka-drawer"])
def test_families_of_the_suite_can_be_joined(name):
    spec = tasks.get(name)
    for k, part in enumerate(spec.parts):
        assert len(set(spec.obs_columns(k))) == part.obs_dim
        assert len(set(spec.action_columns(k))) == part.action_dim
    assert spec.obs_dim < sum(part.obs_dim for part in spec.parts)


def test_tasks_without_robot_or_spaces_in_common_are_refused():
    with pytest.raises(ValueError, match="franka-reach and ant-run have neither the same robot nor the same spaces"):
        tasks.get("ant-run+franka-reach")
    assert tasks.get("go2-velocity+anymal-velocity").action_dim == 12  # other robots, the same spaces
    one_engine = dataclasses.replace(tasks.get("go2-velocity"), engines=("physx",))
    with pytest.raises(ValueError, match="no engine runs all"):
        multitask.declare([tasks.get("go2-terrain"), one_engine])


def test_a_joint_env_steps_each_task_as_it_steps_alone():
    spec = tasks.get(NAME)
    env = make_env(spec, 8, "cpu", "torch")
    alone = [part.build(4, "cpu", "torch") for part in spec.parts]
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), 0.25))
    for part in alone:
        part.set_sampler(lambda env_ids: torch.full((len(env_ids),), 0.25))
    obs = env.reset(5)
    own = [part.reset(5) for part in alone]
    generator = torch.Generator().manual_seed(0)
    ended, solved = 0, torch.zeros(4, dtype=torch.bool)
    for _ in range(120):
        assert obs[:, -2:].equal(torch.eye(2).repeat_interleave(4, 0))
        action = torch.rand(8, spec.action_dim, generator=generator) * 2 - 1
        action[4:, spec.action_columns(1)] = (3.0 * own[1][:, 2:] - 3.0 * own[1][:, 1:2]).clamp(-1, 1)
        obs, reward, terminated, truncated, extras = env.step(action)
        for k, part in enumerate(alone):
            rows, columns = slice(4 * k, 4 * k + 4), spec.obs_columns(k)
            own[k], r, te, tr, ex = part.step(action[rows][:, spec.action_columns(k)])
            assert obs[rows][:, columns].equal(own[k])
            assert extras["final_obs"][rows][:, columns].equal(ex["final_obs"])
            assert reward[rows].equal(r)
            assert terminated[rows].equal(te)
            assert truncated[rows].equal(tr)
            assert extras["difficulty"][rows].equal(ex["difficulty"])
            described = extras["factors"][rows]
            assert described[:, 0].eq(k).all()
            assert described[:, 1].tolist() == [0, 1, 2, 3]
            assert described[:, 2 : 2 + len(part.spec.factors)].equal(ex["factors"])
            if k == 1:  # a success at any time counts until the end of the episode
                solved |= ex["success"]
                assert extras["success"][rows].equal(solved)
                solved &= ~(te | tr)
                ended += int((te | tr).sum())
            else:
                assert extras["success"][rows].equal(ex["success"])
    assert ended > 4
    unused = sorted(set(range(spec.obs_dim)) - {*spec.obs_columns(0), *range(spec.obs_dim - 2, spec.obs_dim)})
    assert obs[:4, unused].eq(0).all()


def test_rows_are_dealt_out_by_shares():
    assert allot([0.5, 0.5], 7) == [4, 3]
    assert allot([0.7, 0.3], 8) == [6, 2]
    assert allot([0.1, 0.1, 0.8], 9) == [1, 1, 7]
    assert allot([0.75, 0.125, 0.125], 12) == [9, 2, 1]


def test_shares_hold_from_the_next_reset_on():
    env = make_env(tasks.get(NAME), 12, "cpu", "torch", largest=0.75)
    assert [part.num_envs for part in env.envs] == [9, 9]

    def of_task():
        return [int((env.factors[:, 0] == k).sum()) for k in range(2)]

    env.reset(0)
    assert of_task() == [6, 6]
    env.shares = lambda: [0.25, 0.75]
    env.step(torch.zeros(12, env.spec.action_dim))
    assert of_task() == [6, 6]
    obs = env.reset(1, staggered=True)
    assert of_task() == [3, 9]
    assert obs[:, -1].sum() == 9
    assert env.factors[:, 1].tolist() == [*range(3), *range(9)]
    env.shares = lambda: [0.1, 0.9]
    with pytest.raises(ValueError, match="11 envs for a task that has 9"):
        env.reset(2)


def sampler(env_ids):
    return env_ids / 8.0, torch.stack([torch.linspace(0.5, 2.0, 8)[env_ids], *torch.zeros(2, len(env_ids))], dim=1)


def test_an_env_in_its_own_process_is_the_env():
    spec = tasks.get(NAME)
    remote = RemoteEnv(spec.parts[1], 4, "cpu", "torch")
    try:
        remote.wait()
        here = make_env(spec, 8, "cpu", "torch")
        there = MultiTaskEnv(spec, [spec.parts[0].build(4, "cpu", "torch"), remote], 8, "cpu")
        for env in (here, there):
            env.set_samplers([lambda env_ids: env_ids / 8.0, sampler])
        assert here.reset(3, staggered=True).equal(there.reset(3, staggered=True))
        for step in range(60):
            action = torch.full((8, spec.action_dim), (-1.0) ** (step // 9))
            *ours, extras = here.step(action)
            *theirs, others = there.step(action)
            assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))
            assert all(extras[name].equal(others[name]) for name in ("final_obs", "success", "difficulty", "factors"))
        assert there.overflows() == 0
        there.check()
        remote.set_sampler(lambda env_ids: env_ids + 1.0)
        there.reset(0)
        with pytest.raises(RuntimeError, match="toy-line: ValueError: toy-line: the sampler gave a difficulty outside"):
            there.check()
        with pytest.raises(RuntimeError, match="the process of its env ended with exit code 1"):
            there.reset(0)
    finally:
        remote.close()
