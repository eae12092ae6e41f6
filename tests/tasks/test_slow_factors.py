"""Factors that an engine takes over the host only: what an episode has, was to have, and what a teacher learns."""

import dataclasses

import pytest
import torch
from omegaconf import OmegaConf

import curricula
import tasks
from curricula.episodes import Episodes
from tasks.core import engines
from tasks.factors.signal_effects import Effect
from tasks.spec import Factor
from tasks.toy.env import ToyReach

torch.set_num_threads(1)
N, LENGTH = 1024, 100
HERE = __name__


class Engine(Effect):
    """Keeps what was written to it, as an engine does."""

    def __init__(self, env, factor):
        super().__init__(env, factor)
        self.written = torch.full((env.num_envs,), factor.nominal)
        env.engine = self

    def start(self, env_ids, value):
        self.written[env_ids] = value


class SlowEngine(Engine):
    slow = True


def spec(effect):
    mass = {"r1": (0.9, 1.1), "r3": (0.5, 2.0)}
    wind = {"r1": (-0.01, 0.01), "r3": (-0.05, 0.05)}  # too weak to blow a point out of the arena
    return dataclasses.replace(
        tasks.get("toy-reach"),
        episode_length_s=LENGTH * 0.05,
        factors=(
            Factor("mass", "physical", "1", 1.0, mass, (0.4, 3.0), f"{HERE}:{effect.__name__}", lowest=0.05),
            Factor("drag", "dynamics", "1/s", 0.0, {}, (0.0, 2.0), "", lowest=0.0),
            Factor("wind", "disturbance", "m/s²", 0.0, wind, (-2.0, 2.0), ""),
        ),
    )


class Asked:
    """A sampler of mass and wind that remembers what it said for each row."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
        self.mass = torch.full((N,), torch.nan)
        self.rows = torch.arange(0)

    def __call__(self, env_ids):
        k = len(env_ids)
        factors = torch.rand(k, 3, generator=self.generator) * torch.tensor([1.5, 0.0, 0.1])
        factors += torch.tensor([0.5, 0.0, -0.05])
        self.mass[env_ids], self.rows, self.wind = factors[:, 0], env_ids, factors[:, 2]
        return torch.rand(k, generator=self.generator), factors


def play(env, steps):
    """Zero actions; yields (rows that ended, factors that they are said to have had, masses that they really had)."""
    for _ in range(steps):
        had = env.engine.written.clone()
        _, _, terminated, truncated, extras = env.step(torch.zeros(env.num_envs, 2))
        assert torch.equal(extras["factors"][:, 0], had)  # of every row in every step
        ended = (terminated | truncated).nonzero().squeeze(1)
        yield ended, extras


def build(effect, every):
    env = ToyReach(spec(effect), N, "cpu")
    env.rewrite_episodes = every
    return env


def test_every_episode_has_what_the_sampler_drew_where_no_engine_is_slow():
    env, asked = build(SlowEngine, 1), Asked()
    env.set_sampler(asked)
    env.reset(0, staggered=True)
    for _ in play(env, 5 * LENGTH):
        assert torch.equal(env.engine.written, asked.mass)
    assert torch.equal(env.factors[asked.rows, 2], asked.wind)


@pytest.mark.parametrize("every", [2, 3, 8])
def test_every_row_is_rewritten_within_its_own_episodes_and_the_env_says_what_it_has(every):
    env, asked = build(SlowEngine, every), Asked()
    env.set_sampler(asked)
    env.reset(0, staggered=True)
    kept, writes, steps, counts = torch.zeros(N, dtype=torch.long), 0, 20 * every * LENGTH // 8, []
    for ended, _ in play(env, steps):
        if not len(ended):
            continue
        new = env.factors[ended, 0] == asked.mass[ended]
        assert new.all() or not new.any()  # all rows that reset in a step share its fate
        assert torch.equal(env.factors[ended, 0], env.engine.written[ended])
        assert torch.equal(env.factors[ended, 2], asked.wind)  # a fast factor is new in every episode
        kept[ended] = torch.where(new, 0, kept[ended] + 1)
        writes += int(new.all())
        counts.append(int(kept.max()))
    assert max(counts) == every - 1
    assert writes / len(counts) == pytest.approx(1.0 / every, rel=0.25)  # whole episodes: cohorts stay in step


def test_a_reset_of_all_rows_writes_all_and_what_follows_repeats():
    env, asked = build(SlowEngine, 8), Asked()
    env.set_sampler(asked)
    env.reset(0, staggered=True)
    for _ in play(env, 150):
        pass
    once, again = [], []
    for seen in once, again:  # as a training that goes on and one that is resumed
        asked.generator.manual_seed(1)
        env.reset(7, staggered=True)
        assert torch.equal(env.engine.written, asked.mass)
        for _ in play(env, 3 * LENGTH):
            seen.append(env.factors.clone())
        env = build(SlowEngine, 8) if seen is once else env
        env.set_sampler(asked)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_only_physx_on_cuda_takes_turns(device):
    assert engines.rewrite_episodes("newton_mjwarp", device) == 1
    for physx in ("ovphysx", "isaacsim_physx"):
        assert (engines.rewrite_episodes(physx, device) > 1) == (device != "cpu")


SETTINGS = {
    "adr": {"window": 32},
    "plr": {"levels": 64},
    "alp_gmm": {"window": 1024, "fit_every": 512, "neighbours": 32},
    "spdl": {"fit_every": 512},
}


def train(name, effect, every, moved=("mass",), steps=6 * LENGTH):
    """Let a teacher move factors while every light episode succeeds. Returns the env, the teacher and its episodes."""
    env = build(effect, every)
    cfg = OmegaConf.merge(curricula.config.load(name), {"target": "factors", "factors": list(moved)}, SETTINGS[name])
    teacher = curricula.make(cfg, env.spec, "r3", N, "cpu", 0)
    env.set_sampler(teacher.sample, ["mass", "wind"])
    env.reset(0, staggered=True)
    told, had = [], []
    for step, (ended, extras) in enumerate(play(env, steps)):
        if len(ended):
            told.append((ended, extras["difficulty"][ended], extras["factors"][ended]))
        if step % 25 == 24 and told:
            env_ids, difficulty, factors = (torch.cat(parts) for parts in zip(*told, strict=True))
            zeros, success = torch.zeros(len(env_ids)), factors[:, 0] < 1.6
            teacher.update(Episodes(env_ids, difficulty, factors, zeros, zeros, success, success, step))
            had.append(factors)
            told = []
    return env, teacher, torch.cat(had)


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("name", SETTINGS)
def test_a_teacher_of_slow_factors_does_what_one_of_fast_factors_does(name):
    env, slow, _ = train(name, SlowEngine, 1)
    other, fast, _ = train(name, Engine, 8)
    assert equal(slow.state_dict(), fast.state_dict())
    assert torch.equal(env.factors, other.factors)


def test_adr_widens_its_range_by_what_episodes_had():
    _, teacher, had = train("adr", SlowEngine, 4, steps=20 * LENGTH)
    low, high = (teacher.space.values(bound)[0].item() for bound in (teacher.low, teacher.high))
    assert low < 0.9
    assert high > 1.1
    assert had[:, 0].min() < low + 0.1
    assert had[:, 0].max() > high - 0.1  # no range that no env ever had


def test_an_episode_with_other_values_than_its_levels_is_credited_to_no_level():
    """Of two factors the slow one is that of an earlier level, the fast one that of the new one."""
    _, teacher, had = train("plr", SlowEngine, 4, moved=("mass", "wind"))
    points = teacher.space.normalize(had[:, [0, 2]])
    at_a_level = (torch.cdist(points, teacher.levels, compute_mode="donot_use_mm_for_euclid_dist") < 1e-4).any(1)
    assert 0.1 < at_a_level.float().mean() < 0.4  # one episode in four
    credited = []
    learn = teacher.episodes.clone()
    for ones in at_a_level, ~at_a_level:
        part = points[ones][:64]
        teacher.learn(part, torch.ones(len(part)), torch.arange(len(part)))
        credited.append(not torch.equal(teacher.episodes, learn))
        learn = teacher.episodes.clone()
    assert credited == [True, False]


def test_the_tasks_of_a_joint_env_take_turns_by_their_own_ages():
    env = tasks.get("toy-line+toy-reach").build(8, "cpu", "torch")
    for part in env.envs:
        part.rewrite_episodes = 4
    env.reset(0, staggered=True)
    for part in env.envs:
        assert torch.equal(part._begun, part._steps % 4)  # the toy keeps its age there
        assert part._begun.any()
