"""Factors: declarations, and what they do to actions and observations, on the toy env."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

import tasks
from tasks.factors import catalogue
from tasks.factors.physics_effects import Bodies
from tasks.factors.signal_effects import Effect
from tasks.spec import Factor
from tasks.toy.env import ToyReach

SPEC = tasks.get("toy-reach")
NAMES = [factor.name for factor in SPEC.factors]
NUM = 256


def toy(num_envs=NUM, **values):
    """A toy env in which the named factors have the given values, and the others are nominal."""
    row = torch.tensor([float(values.get(factor.name, factor.nominal)) for factor in SPEC.factors])
    env = ToyReach(SPEC, num_envs, "cpu")
    env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), row.repeat(len(env_ids), 1)))
    return env


def rollout(env, actions, seed=0):
    return torch.stack([env.reset(seed), *(env.step(action)[0] for action in actions)])


def random_actions(steps, num_envs=NUM):
    return torch.rand(steps, num_envs, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1


BASE = {"name": "mass", "category": "physical", "unit": "kg", "nominal": 1.0, "effect": "", "lowest": 0.1}


@pytest.mark.parametrize(
    ("ranges", "evaluation", "reason"),
    [
        ({"r1": (1.2, 0.8)}, (0.5, 2.0), "low has to be below high"),
        ({"r1": (1.0, 1.0)}, (0.5, 2.0), "low has to be below high"),
        ({"r1": (-1.0, 1.0)}, (0.5, 2.0), "0.1 or more"),
        ({}, (-0.5, 2.0), "0.1 or more"),
        ({}, (float("nan"), 2.0), "low has to be below high"),
        ({"r4": (0.9, 1.1)}, (0.5, 2.0), "unknown level 'r4'"),
        ({"r1": (0.9, 3.0)}, (0.5, 2.0), "beyond evaluation"),
        ({}, (1.5, 2.0), "nominal value 1.0 is outside"),
    ],
)
def test_impossible_ranges_are_refused(ranges, evaluation, reason):
    with pytest.raises(ValueError, match=reason):
        Factor(**BASE, ranges=ranges, evaluation=evaluation)


def test_two_factors_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        dataclasses.replace(SPEC, factors=(catalogue.action_delay(), catalogue.action_delay()))


def test_without_factors_and_with_nominal_ones_an_env_does_the_same():
    plain = ToyReach(SPEC, NUM, "cpu")
    plain.set_sampler(lambda env_ids: torch.zeros(len(env_ids)))
    actions = random_actions(20)
    # The dropout effect draws random numbers, so only the first episode is the same.
    assert torch.allclose(rollout(plain, actions)[:10], rollout(toy(), actions)[:10])


def test_a_sampled_factor_is_what_the_env_says_it_ran_with():
    env = toy(mass=2.0, wind=-1.0)
    env.reset(0)
    extras = env.step(torch.zeros(NUM, 2))[4]
    assert extras["factors"].shape == (NUM, len(NAMES))
    assert (extras["factors"][:, NAMES.index("mass")] == 2.0).all()
    assert (env.factor("wind") == -1.0).all()


def test_action_delay_shifts_an_action_by_exactly_that_many_steps():
    actions = random_actions(12)
    late = rollout(toy(action_delay=3), actions)
    waiting = torch.cat((torch.zeros(3, NUM, 2), actions))[:12]
    assert torch.allclose(late, rollout(toy(), waiting), atol=1e-6)


def test_a_new_episode_does_not_see_the_actions_of_the_one_before():
    env = toy(action_delay=5)
    rollout(env, random_actions(10))
    again = rollout(env, random_actions(10))
    assert torch.allclose(again, rollout(toy(action_delay=5), random_actions(10)))


def test_sensor_delay_shows_the_state_of_so_many_steps_ago():
    actions = random_actions(12)
    true, late = rollout(toy(), actions), rollout(toy(sensor_delay=2), actions)
    assert torch.allclose(late[2:], true[:-2], atol=1e-6)
    assert torch.allclose(late[:2], true[:1].expand(2, -1, -1), atol=1e-6)


def test_sensor_bias_shifts_the_observation_and_not_the_state():
    actions = random_actions(5)
    env = toy(sensor_bias=2.0)
    biased, true = rollout(env, actions), rollout(toy(), actions)
    offset = biased - true
    assert torch.allclose(offset, offset[:1].expand_as(offset), atol=1e-5)
    sigma = torch.tensor([0.01, 0.01, 0.02, 0.02, 0.01, 0.01])
    assert torch.allclose(offset[0].std(0), 2.0 * sigma, rtol=0.2)
    assert torch.allclose(env._position, true[-1, :, :2], atol=1e-6)


def test_sensor_noise_has_the_declared_spread_and_no_memory():
    actions = random_actions(20)
    noise = rollout(toy(sensor_noise=3.0), actions) - rollout(toy(), actions)
    assert noise[..., 0].std().item() == pytest.approx(0.03, rel=0.1)
    assert noise[..., 2].std().item() == pytest.approx(0.06, rel=0.1)
    assert (noise[1:] * noise[:-1])[..., 0].mean().abs() < 0.1 * 0.03**2


def test_sensor_dropout_repeats_the_last_observation_so_often():
    seen = rollout(toy(sensor_dropout=0.3), random_actions(30))
    missed = (seen[1:] == seen[:-1]).all(-1).float().mean().item()
    assert missed == pytest.approx(0.3, abs=0.03)


def test_the_final_observation_is_perturbed_by_the_episode_that_ended():
    """Its bias is that of its own episode, though the next one has begun."""
    env = toy(sensor_bias=3.0)
    first = env.reset(0)
    offset = first - torch.cat((env._position, env._velocity, env._goal - env._position), -1)
    for _ in range(SPEC.max_episode_steps):
        obs, _, _, truncated, extras = env.step(torch.zeros(NUM, 2))
    assert truncated.all()
    still = extras["final_obs"] - offset  # nothing moved, so this is the start without its bias
    assert torch.allclose(still[:, :4], (first - offset)[:, :4], atol=1e-5)
    assert not torch.allclose(obs[:, :4], first[:, :4], atol=1e-3)


def test_each_row_has_its_own_values():
    masses = torch.linspace(0.5, 2.0, NUM)
    env = ToyReach(SPEC, NUM, "cpu")
    nominal = torch.tensor([factor.nominal for factor in SPEC.factors])

    def sampler(env_ids):
        row = nominal.repeat(len(env_ids), 1)
        row[:, NAMES.index("mass")] = masses[env_ids]
        return torch.zeros(len(env_ids)), row

    env.set_sampler(sampler)
    env.reset(0)
    env.step(torch.ones(NUM, 2))
    assert torch.allclose(env._velocity[:, 0] * masses, env._velocity[:1, 0] * masses[0])


class LateStart(Effect):
    """The example of docs/robustness.md: the robot cannot move for the first `value` seconds."""

    def __init__(self, env, factor):
        super().__init__(env, factor)
        self.left = torch.zeros(env.num_envs)

    def start(self, env_ids, value):
        super().start(env_ids, value)
        self.left[env_ids] = value

    def act(self, action):
        self.left -= self.env.spec.control_dt
        return action * (self.left <= 0)[:, None]


def test_a_factor_of_ones_own_needs_its_declaration_and_its_effect():
    factor = Factor("late", "dynamics", "s", 0.0, {"r3": (0.0, 0.2)}, (0.0, 1.0), f"{__name__}:LateStart", lowest=0.0)
    env = ToyReach(dataclasses.replace(SPEC, factors=(*SPEC.factors, factor)), NUM, "cpu")
    row = torch.tensor([*(f.nominal for f in SPEC.factors), 0.22])
    env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), row.repeat(len(env_ids), 1)))
    env.reset(0)
    moved = []
    for _ in range(6):
        env.step(torch.ones(NUM, 2))
        moved.append(bool(env._velocity.any()))
    assert moved == [False, False, False, False, True, True]


def test_factors_that_are_said_to_stay_nominal_cost_nothing():
    env = ToyReach(SPEC, NUM, "cpu")
    nominal = torch.tensor([factor.nominal for factor in SPEC.factors])
    sampler = lambda env_ids: (torch.zeros(len(env_ids)), nominal.repeat(len(env_ids), 1))  # noqa: E731
    env.set_sampler(sampler, moving=["mass", "sensor_noise"])
    env.reset(0)
    assert [type(effect).__name__ for _, effect in env._effects] == ["SensorNoise"]
    env.set_sampler(sampler)
    env.reset(0)
    assert [type(effect).__name__ for _, effect in env._effects] == ["SensorNoise"]


class Recorded:
    """Two bodies in each of four rows, and what was handed over about them."""

    def __init__(self):
        def built(*shape):
            return SimpleNamespace(torch=torch.full((4, 2, *shape), 0.5))

        self.data = SimpleNamespace(body_mass=built(), body_inertia=built(9), body_com_pose_b=built(7))
        self.written = []

    def set_masses_index(self, masses, env_ids):
        self.written.append(("masses", env_ids.tolist(), masses[:, 1].tolist()))

    def set_inertias_index(self, inertias, env_ids):
        self.written.append(("inertias", env_ids.tolist(), inertias[:, 1, 0].tolist()))

    def set_coms_index(self, coms, env_ids):
        self.written.append(("coms", env_ids.tolist(), coms[:, 1, 2].tolist()))


def test_only_bodies_that_change_are_handed_over():
    asset = Recorded()
    bodies = Bodies(SimpleNamespace(after_reset=[]), asset)
    rows, ones = torch.arange(4, dtype=torch.int32), torch.ones(4)

    def reset(mass, size):
        asset.written.clear()
        bodies.grade(rows, 1, mass * ones, size * ones)
        bodies.write()
        return asset.written

    assert reset(1.0, 1.0) == []
    heavy = torch.tensor([1.0, 1.0, 3.0, 1.0])
    assert reset(heavy, 1.0) == [("coms", [2], [0.5]), ("masses", [2], [1.5]), ("inertias", [2], [1.5])]
    bodies.scale[:2, 1], bodies.masses_set = 2.0, True
    assert reset(heavy, 1.0) == [("masses", [0, 1], [1.0, 1.0]), ("inertias", [0, 1], [1.0, 1.0])]
    short = torch.tensor([1.0, 1.0, 1.0, 0.5])
    assert reset(heavy, short) == [("coms", [3], [0.25]), ("masses", [3], [0.5]), ("inertias", [3], [0.125])]
    assert reset(heavy, short) == []
