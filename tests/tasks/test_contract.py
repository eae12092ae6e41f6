"""Declarations, the toy env, engines and assets: nothing here starts a simulator."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tasks
from tasks.core import engines
from tasks.isaaclab import assets
from tasks.spec import GRADES, GradeParam, axis_actions, difficulty_of


@pytest.mark.parametrize("name", tasks.known())
def test_declaration_is_complete(name):
    spec = tasks.get(name)
    assert spec.name == name
    assert spec.summary
    assert spec.success
    assert spec.grades
    assert set(spec.budgets) == {"smoke", "quick", "full"}
    assert spec.budgets["smoke"] < spec.budgets["quick"] < spec.budgets["full"]
    for param in spec.grades.values():
        steps = [b - a for a, b in zip(param.values, param.values[1:], strict=False)]
        assert all(s >= 0 for s in steps) or all(s <= 0 for s in steps), "a grade parameter moves one way only"


def test_reading_the_declarations_imports_no_torch():
    code = "import sys, tasks; [tasks.get(n) for n in tasks.known()]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_grade_parameter_is_linear_between_rungs_for_floats_and_tensors():
    param = GradeParam((0.0, 1.0, 3.0, 3.0, 10.0), "m", "")
    for grade, value in zip(GRADES, param.values, strict=True):
        assert param.at(difficulty_of(grade)) == pytest.approx(value)
    between = torch.tensor([0.125, 0.375, 0.625, 0.875])
    assert param.at(between).tolist() == pytest.approx([0.5, 2.0, 3.0, 6.5])


def test_unknown_grade_is_refused():
    with pytest.raises(ValueError, match="g1, g2, g3, g4, g5"):
        difficulty_of("g6")


def test_axis_actions():
    assert axis_actions(2) == ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))


def toy(num_envs=64, difficulty=0.5):
    env = tasks.get("toy-reach").build(num_envs, "cpu", "torch")
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), difficulty))
    return env


def test_toy_reset_with_one_seed_is_identical_and_with_another_is_not():
    env = toy()
    first, again, other = env.reset(seed=1), env.reset(seed=1), env.reset(seed=2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_staggered_reset_starts_alike_and_truncates_each_first_episode_at_another_time():
    env = toy()
    start = env.reset(seed=1)
    assert torch.equal(env.reset(seed=1, staggered=True), start)
    still, length = torch.zeros(64, 2), env.spec.max_episode_steps
    ends = torch.stack([env.step(still)[3] for _ in range(2 * length)])
    first = ends.int().argmax(0)
    assert len(first.unique()) > length / 2
    assert (ends.sum(0) == 2).all(), "the episodes that follow are whole"
    env.reset(seed=1, staggered=True)
    assert torch.equal(torch.stack([env.step(still)[3] for _ in range(length)]), ends[:length])


def test_toy_episode_ends_give_the_true_last_observation():
    env = toy(num_envs=2)
    env.reset(seed=0)
    push = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for _ in range(env.spec.max_episode_steps):
        obs, _, terminated, truncated, extras = env.step(push)
        if terminated[0]:
            assert extras["final_obs"][0, 0] > 2.0  # outside the arena
            assert obs[0, :2].abs().max() < 0.11  # and already back near the origin
            assert extras["terminations"]["left_arena"][0]
            break
    else:
        pytest.fail("a constant push did not leave the arena")
    assert not truncated[0]


def test_toy_time_limit_truncates():
    env = toy(num_envs=4)
    env.reset(seed=0)
    for step in range(env.spec.max_episode_steps):
        _, _, terminated, truncated, _ = env.step(torch.zeros(4, 2))
        assert truncated.all() == (step == env.spec.max_episode_steps - 1)
    assert not terminated.any()


def test_difficulty_in_extras_is_that_of_the_step_not_of_the_next_episode():
    env = toy(num_envs=4, difficulty=0.25)
    env.reset(seed=0)
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), 1.0))
    for _ in range(env.spec.max_episode_steps):
        *_, extras = env.step(torch.zeros(4, 2))
    assert extras["difficulty"].tolist() == [0.25] * 4
    assert env.difficulty.tolist() == [1.0] * 4


def test_success_has_to_hold():
    env = toy(num_envs=1)
    held = [bool(env._hold(torch.tensor([on]))) for on in [True] * 4 + [False] + [True] * 6]
    assert held == [False] * 4 + [False] + [False] * 4 + [True] * 2  # 0.25 s are 5 steps


def test_physx_has_the_threads_it_is_given(monkeypatch):
    runtime, fake = engines.get("ovphysx").load(), SimpleNamespace(PhysXConfig=dict)
    monkeypatch.setattr("tasks.isaaclab.ovphysx.runtime.ovphysx", fake)
    runtime.prepare()
    assert fake.PhysXConfig is dict, "Isaac Lab's number where nothing is set"
    monkeypatch.setenv(engines.PHYSX_THREADS, "0")
    runtime.prepare()
    assert fake.PhysXConfig(num_threads=8, nvtx_enabled=False) == {"num_threads": 0, "nvtx_enabled": False}


def test_a_task_without_a_simulator_runs_in_torch_whatever_the_engine():
    assert engines.check("physx", tasks.get("toy-reach")) == "torch"


def test_unknown_engine_names_the_valid_ones():
    with pytest.raises(engines.EngineError, match="newton_mjwarp"):
        engines.check("bullet", tasks.get("franka-reach"))


def test_missing_engine_names_the_command(monkeypatch):
    sim = replace(engines.get("isaacsim_physx"), packages=("no-such",))
    monkeypatch.setitem(engines.REGISTRY._builtin, "isaacsim_physx", sim)
    monkeypatch.setattr(engines.REGISTRY, "_loaded", {})
    with pytest.raises(engines.EngineError, match="uv sync --extra isaacsim"):
        engines.check("isaacsim_physx", tasks.get("franka-reach"))


def test_physx_is_isaac_sim_where_that_is_installed(monkeypatch):
    spec = tasks.get("cartpole-balance")
    monkeypatch.setattr(engines.Engine, "why_not", lambda engine: None)
    assert engines.check("physx", spec) == "isaacsim_physx"
    monkeypatch.setattr(engines.Engine, "why_not", lambda engine: "no" if engine.name == "isaacsim_physx" else None)
    assert engines.check("physx", spec) == "ovphysx"


def test_missing_system_library_names_its_package():
    engine = replace(engines.get("ovphysx"), libraries={"libnothere.so.1": "libnothere1"})
    assert "apt-get install libnothere1" in engine.why_not()


@pytest.mark.parametrize("engine", ["isaacsim_physx", "ovphysx", "newton_mjwarp"])
def test_physics_config_of_every_engine_is_isaac_labs(engine):
    cfg = engines.get(engine).load().physics_cfg({"njmax": 5, "nconmax": 3})
    expected = {"isaacsim_physx": "PhysxCfg", "ovphysx": "OvPhysxCfg", "newton_mjwarp": "NewtonCfg"}[engine]
    assert type(cfg).__name__ == expected


@pytest.mark.parametrize("name", sorted(assets.ASSETS))
def test_assets_are_the_pinned_ones(name):
    assert assets._checked_source(name).is_file()


def test_changed_asset_package_is_refused(monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(assets.ASSETS, "cartpole", replace(assets.ASSETS["cartpole"], sha256="0" * 64))
    assets._checked_source.cache_clear()
    with pytest.raises(assets.AssetError, match="install the pinned version"):
        assets._checked_source("cartpole")
    assets._checked_source.cache_clear()


def test_missing_asset_package_names_the_command(monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(assets.ASSETS, "cartpole", replace(assets.ASSETS["cartpole"], package="no-such-package"))
    assets._checked_source.cache_clear()
    with pytest.raises(assets.AssetError, match="uv sync"):
        assets._checked_source("cartpole")
    assets._checked_source.cache_clear()


def test_cache_is_filled_whole_and_used_without_the_source(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))
    usd = assets.usd_path("cartpole")
    assert usd.is_relative_to(tmp_path)
    assert 'defaultPrim = "cartpole"' in usd.read_text()
    monkeypatch.setattr(assets, "_checked_source", lambda name: pytest.fail("asked for the source"))
    assert assets.usd_path("cartpole") == usd
    assert [p.name for p in (tmp_path / "assets").iterdir()] == [usd.parents[1].name], "no half-written folder is left"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (torch.zeros(4, 3), r"the action is \(4, 3\) torch.float32, expected \(4, 2\)"),
        (torch.zeros(3, 2), r"the action is \(3, 2\)"),
        (torch.zeros(4, 2, dtype=torch.double), "torch.float64, expected"),
        (torch.zeros(4, 2, dtype=torch.long), "torch.int64, expected"),
        (torch.full((4, 2), torch.nan), "an action has NaN"),
        (torch.full((4, 2), torch.inf), "an action has NaN or infinite"),
    ],
)
def test_bad_action_is_refused(action, said):
    env = toy(num_envs=4)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=said):
        env.step(action)


def test_an_action_beyond_the_space_does_what_its_end_does():
    """Under factors, too: they make of a clamped action what they make of any."""
    names = [factor.name for factor in tasks.get("toy-reach").factors]
    row = torch.tensor([factor.nominal for factor in tasks.get("toy-reach").factors])
    row[names.index("action_delay")] = 1.0
    seen = []
    for size in 1.0, 20.0, 1e38:
        env, passed = toy(num_envs=4), []
        env._step = lambda action, step=env._step, passed=passed: (passed.append(action), step(action))[1]
        env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), row.repeat(len(env_ids), 1)))
        env.reset(seed=0)
        action = size * torch.tensor([[1.0, -1.0]]).repeat(4, 1)
        seen.append(torch.cat([env.step(action)[0] for _ in range(5)]))
        assert max(a.abs().max() for a in passed) == 1.0
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_clamping_changes_no_bit_within_the_space():
    action = torch.rand(1000, 4) * 2 - 1
    action[0] = torch.tensor([1.0, -1.0, 0.0, -0.0])
    assert torch.equal(action.view(torch.int32), action.clamp(-1.0, 1.0).view(torch.int32))


def test_an_env_is_built_at_difficulty_0_or_at_the_one_that_is_asked_for():
    spec = tasks.get("toy-reach")
    for difficulty, wanted in ({}, 0.0), ({"difficulty": difficulty_of("g4")}, 0.75):
        env = spec.build(4, "cpu", "torch", **difficulty)
        env.reset(0)
        assert (env.difficulty == wanted).all()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("foo", ""), ("mujoco", "newton_mjwarp"), ("newton", "newton_mjwarp"), ("ovphisx", "ovphysx"), ("PhysX", "physx")],
)
@pytest.mark.parametrize("task", ["toy-reach", "cartpole-balance"])
def test_an_unknown_engine_is_refused_before_anything_is_built(monkeypatch, task, name, nearest):
    monkeypatch.setattr("tasks.core.build.import_module", lambda module: pytest.fail(f"{module} was imported"))
    with pytest.raises(engines.EngineError, match=f"unknown engine '{name}'") as error:
        tasks.get(task).build(4, "cpu", name)
    assert ("nearest" in str(error.value)) == bool(nearest)
    assert nearest in str(error.value)


def test_physx_is_built_as_the_concrete_engine(monkeypatch):
    monkeypatch.setattr(engines.Engine, "why_not", lambda engine: "no" if engine.name == "isaacsim_physx" else None)
    asked = []
    make = SimpleNamespace(make_env=lambda spec, num_envs, device, engine: asked.append(engine))
    monkeypatch.setattr("tasks.core.build.import_module", lambda module: make)
    tasks.get("cartpole-balance").build(4, "cpu", "physx")
    assert asked == ["ovphysx"]


@pytest.mark.parametrize("name", ["physx", "newton"])
def test_only_a_concrete_engine_can_be_loaded(name):
    with pytest.raises(engines.EngineError, match="no concrete engine"):
        engines.get(name)


def test_terms_that_are_not_built_as_declared_are_refused():
    spec = tasks.get("go2-velocity")
    declared = [(term.name, term.dim) for term in spec.observations]
    spec.agree("observations", declared)
    names = [name for name, _ in declared]
    at, after = names.index("joint_position"), names.index("joint_velocity")
    swapped = declared.copy()
    swapped[at], swapped[after] = swapped[after], swapped[at]
    with pytest.raises(RuntimeError, match=r"joint_velocity \[12\] as built, and declared is joint_position \[12\]"):
        spec.agree("observations", swapped)
    with pytest.raises(RuntimeError, match=r"is nothing as built, and declared is last_action"):
        spec.agree("observations", declared[:-1])
    with pytest.raises(RuntimeError, match=r"more \[3\] as built, and declared is nothing"):
        spec.agree("critic_observations", [("more", 3)])


@pytest.mark.parametrize("difficulty", [-0.01, 1.01, float("nan")])
def test_difficulty_out_of_range_is_refused(difficulty):
    env = toy(difficulty=difficulty)
    with pytest.raises(ValueError, match=r"difficulty outside \[0, 1\]"):
        env.reset(seed=0)


def test_bad_values_are_found_when_they_are_asked_for():
    env = toy(num_envs=4)
    env.check_at_once = False
    env._require(torch.tensor([True, False]), "first")
    env._require(torch.tensor([True, True]), "first")
    env._require(torch.tensor([True]), "second")
    with pytest.raises(ValueError, match="toy-reach: first"):
        env.check()
    env.check()  # each is reported once


def test_messages_of_physx_about_lost_contacts_are_known():
    from tasks.isaaclab.overflow import LOST

    for message in (
        "Contact buffer overflow detected, please increase its size to at least 9000000 in the scene desc!",
        "The application needs to increase PxGpuDynamicsMemoryConfig::foundLostPairsCapacity to 4194304, otherwise, the"
        " simulation will miss interactions",
        "Dropping contacts in contact reduction due to full contact buffer.",
    ):
        assert LOST.search(message)
    assert not LOST.search("GPU broadphase requires a CUDA context manager; falling back to ePABP.")


@pytest.mark.parametrize("number", [int, float, np.float32, np.float64])
def test_a_grade_parameter_takes_any_number(number):
    parameter = GradeParam((1.0, 2.0, 4.0, 8.0, 16.0), "m", "")
    assert [parameter.at(number(end)) for end in (0, 1)] == [1.0, 16.0]
    assert parameter.at(torch.tensor([0.0, 0.5, 1.0])).tolist() == [1.0, 4.0, 16.0]
