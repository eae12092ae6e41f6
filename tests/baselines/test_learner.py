"""The training loop: what it reports, what stops it, what its checkpoints hold, and that it never waits in a step."""

import hashlib
import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from tianshou.utils.torch_utils import policy_within_training_step
from torch.utils._python_dispatch import TorchDispatchMode

import baselines
import curricula
import tasks
from baselines import config
from baselines import policy_file as policy
from baselines.learner import checkpoint
from baselines.learner.checkpoint import CheckpointError
from baselines.learner.learners import make_learner
from baselines.tianshou import on_policy
from baselines.tianshou.batch import tensor_batch
from baselines.tianshou.graphs import Repeated
from benchmarks import trivial_env
from tests.helpers.fake_graphs import Kept

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"num_envs": 8, "hidden_sizes": [16, 16]}
OFF_POLICY = {"buffer_size": 256, "learning_starts": 64, "batch_size": 32, "n_step": 3}


def small_config(algo, **overrides):
    cfg = config.load(algo, "toy-reach", "smoke")
    return OmegaConf.merge(cfg, SMALL, OFF_POLICY if "buffer_size" in cfg else {}, overrides)


def easy(env):
    cfg = OmegaConf.merge(curricula.config.load("none"), {"grade": "g2"})
    return curricula.make(cfg, env.spec, "r0", env.num_envs, env.device, 0)


def learner(algo, seed=0, env=None, teacher=None, identity=None, **overrides):
    cfg = small_config(algo, **overrides)
    env = env or tasks.get("toy-reach").build(cfg.num_envs, "cpu", "torch")
    teacher = teacher or easy(env)
    env.set_sampler(teacher.sample)
    return make_learner(algo, env, cfg, seed, teacher, identity)


def test_an_iteration_takes_its_steps_and_reports_its_episodes():
    agent = learner("ppo")
    seen = 0
    for count in range(1, 6):
        metrics, episodes = agent.iterate()
        assert agent.env_steps == count * agent.steps_per_iteration == episodes.env_steps
        assert metrics["episodes"] == len(episodes.returns)
        seen += len(episodes.returns)
        if seen:
            assert (episodes.difficulty == 0.25).all()
    assert seen >= 8
    assert {"return_mean", "length_mean", "success_mean", "loss", "learning_rate"} <= set(metrics)


@pytest.mark.parametrize("algo", ["ppo", "td3"])
def test_the_statistics_of_observations_move_once_an_iteration(algo):
    agent = learner(algo)
    seen = []
    read = agent.buffer.read
    agent.buffer.read = lambda obs: seen.append(agent.norm.count.item()) or read(obs)
    for _ in range(3):
        before = agent.norm.count.item()
        seen.clear()
        agent.iterate()
        after = before + agent.steps_per_iteration
        assert agent.norm.count.item() == after
        if algo == "ppo":
            assert seen[: agent.cfg.horizon] == [before] * agent.cfg.horizon
            assert set(seen[agent.cfg.horizon :]) == {after}
        else:
            assert set(seen) <= {before}


class Spoiled:
    """Makes one tensor of one env bad in one vector step."""

    def __init__(self, what, at, rows, value=math.nan):
        self.env = tasks.get("toy-reach").build(SMALL["num_envs"], "cpu", "torch")
        self.env.check_at_once = False  # the learner sets it on this wrapper only
        self.what, self.at, self.rows, self.value, self.count = what, at, rows, value, 0

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, action):
        self.count += 1
        obs, reward, terminated, truncated, extras = self.env.step(action)
        if self.count == self.at:
            (reward if self.what == "reward" else obs)[self.rows] = self.value
        return obs, reward, terminated, truncated, extras


@pytest.mark.parametrize("algo", ["ppo", "sac"])
@pytest.mark.parametrize(("what", "value"), [("reward", math.nan), ("observation", math.inf)])
def test_a_bad_number_stops_the_training_and_is_located(tmp_path, algo, what, value):
    agent = learner(algo, env=Spoiled(what, 21, [2, 5], value), horizon=10)
    agent.iterate()
    agent.iterate()
    agent.checkpoint(tmp_path / "last")
    before = (tmp_path / "last").read_bytes()
    with pytest.raises(baselines.NonFiniteError) as error:
        agent.iterate()
    assert (error.value.step, error.value.env_ids) == (21 * SMALL["num_envs"], [2, 5])
    assert what in error.value.tensor
    assert what in str(error.value)
    assert "env 2, 5" in str(error.value)
    assert (tmp_path / "last").read_bytes() == before


def test_a_bad_first_observation_stops_the_training():
    agent = learner("ppo")
    reset = agent.env.reset
    agent.env.reset = lambda seed, staggered: reset(seed, staggered) * math.inf
    with pytest.raises(baselines.NonFiniteError, match="first observation is NaN or infinite at env step 0 in env 0"):
        agent.iterate()


def test_a_bad_loss_or_parameter_stops_the_training(tmp_path):
    agent = learner("ppo")
    agent.iterate()
    with torch.no_grad():
        next(agent.algorithm.critic.parameters()).fill_(math.nan)
    for write in (agent.checkpoint, agent.export):
        with pytest.raises(baselines.NonFiniteError, match=r"parameter .*critic"):
            write(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    with pytest.raises(baselines.NonFiniteError, match=r"loss is NaN or infinite at env step"):
        agent.iterate()


def file_hash(agent, path):
    agent.export(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Wandering:
    """A teacher with a state and a generator, so that a forgotten one shows."""

    needs_advantage = False

    def __init__(self):
        self.count, self.draw = 0, torch.Generator().manual_seed(1)

    def sample(self, env_ids):
        self.count += len(env_ids)
        return torch.rand(len(env_ids), generator=self.draw) * (self.count % 7) / 7

    def state_dict(self):
        return {"count": self.count, "draw": self.draw.get_state()}

    def load_state_dict(self, state):
        self.count = state["count"]
        self.draw.set_state(state["draw"].cpu())


@pytest.mark.parametrize("algo", baselines.names())
def test_a_restored_training_ends_as_one_that_was_not_interrupted(tmp_path, algo):
    agent = learner(algo, seed=3, teacher=Wandering())
    for _ in range(3):
        agent.iterate()
    agent.checkpoint(tmp_path / "last")
    for _ in range(4):
        metrics, _ = agent.iterate()
    assert len(metrics) > 4, "there were no updates"
    other = learner(algo, seed=3, teacher=Wandering())
    for _ in range(2):  # what it did before must not matter
        other.iterate()
    other.restore(tmp_path / "last")
    for _ in range(4):
        other.iterate()
    assert other.env_steps == agent.env_steps
    assert file_hash(agent, tmp_path / "a") == file_hash(other, tmp_path / "b")
    parameters = zip(agent.algorithm.parameters(), other.algorithm.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in parameters)


@pytest.mark.parametrize(
    ("algo", "part"),
    [("ppo", "random"), ("ppo", "norm"), ("ppo", "teacher"), ("sac", "alpha"), ("sac", "buffer"), ("td3", "counters")],
)
def test_a_part_that_is_not_restored_is_noticed(tmp_path, algo, part):
    changes = {"update_actor_freq": 3} if algo == "td3" else {}
    agent = learner(algo, seed=3, teacher=Wandering(), **changes)
    for _ in range(3):
        agent.iterate()
    state = agent._state()
    agent.checkpoint(tmp_path / "last")
    fresh = learner(algo, seed=3, teacher=Wandering(), **changes)
    if part in ("alpha", "counters"):
        state["agent"][part] = fresh._state()["agent"][part]
    else:
        state[part] = fresh._state()[part]
    checkpoint.save(tmp_path / "spoiled", {**agent.identity, "env_steps": 0}, state)
    hashes = set()
    for name in ("last", "spoiled"):
        agent.restore(tmp_path / name)
        for _ in range(4):
            agent.iterate()
        hashes.add(file_hash(agent, tmp_path / "p"))
    assert len(hashes) == 2


def test_seeds_differ(tmp_path):
    hashes = set()
    for seed in (0, 1):
        agent = learner("ppo", seed=seed)
        agent.iterate()
        agent.iterate()
        hashes.add(file_hash(agent, tmp_path / "p"))
    assert len(hashes) == 2


def rewrite(path, at, value):
    data = bytearray(path.read_bytes())
    data[at] ^= value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "cannot read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:10]), "not a checkpoint"),
        (lambda path: rewrite(path, -100, 1), "truncated or damaged"),
        (lambda path: torch.save({"weights": 1}, path), "not a checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_the_reason(tmp_path, spoil, reason):
    agent = learner("ppo")
    agent.iterate()
    agent.checkpoint(tmp_path / "last")
    spoil(tmp_path / "last")
    with pytest.raises(CheckpointError, match=reason):
        agent.restore(tmp_path / "last")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"algo": "a2c"}, "algo 'ppo', this training has 'a2c'"),
        ({"seed": 1}, "seed 0, this training has 1"),
        ({"identity": {"suite_version": "2"}}, "suite_version '1', this training has '2'"),
        ({"epochs": 3}, "config '"),
    ],
)
def test_a_foreign_checkpoint_is_refused_with_the_reason(tmp_path, change, reason):
    same = {"algo": "ppo", "identity": {"suite_version": "1"}}
    agent = learner(**same)
    agent.iterate()
    agent.checkpoint(tmp_path / "last")
    with pytest.raises(CheckpointError, match=reason):
        learner(**same | change).restore(tmp_path / "last")


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    agent = learner("ppo")
    agent.iterate()
    agent.checkpoint(tmp_path / "last")
    env = trivial_env.SPEC.build(SMALL["num_envs"], "cpu", "torch")
    with pytest.raises(CheckpointError, match="task 'toy-reach', this training has 'trivial'"):
        learner("ppo", env=env).restore(tmp_path / "last")


def test_a_checkpoint_needs_no_pickle(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    checkpoint.save(tmp_path / "last", {}, {"teacher": Evil()})
    with pytest.raises(CheckpointError, match="unreadable body"):
        checkpoint.load(tmp_path / "last", {}, torch.device("cpu"))


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "last", {}, {"value": 1})
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "last", {}, {"value": 2})
    assert checkpoint.load(tmp_path / "last", {}, torch.device("cpu"))[1] == {"value": 1}


@pytest.mark.parametrize("algo", baselines.names())
def test_the_exported_policy_acts_as_the_agent_without_exploration(tmp_path, algo):
    agent = learner(algo)
    for _ in range(3):
        agent.iterate()
    agent.export(tmp_path / "p")
    obs = torch.randn(20, 6) * 2
    with torch.no_grad():  # outside a training step a policy takes the mode of its distribution
        chosen = agent.algorithm.policy(tensor_batch(obs=agent.buffer.read(obs))).act
    expected = chosen.clamp(-1, 1) if agent.table is None else agent.table[chosen]
    torch.testing.assert_close(policy.load_policy(tmp_path / "p", "cpu")(obs), expected)


def test_an_exported_policy_bounds_its_mean_as_the_agent_does(tmp_path):
    agent, obs = learner("ppo", bounded_mean=True), torch.randn(20, 6)
    with torch.no_grad():
        agent.algorithm.policy.actor.mu.model[-1].weight.mul_(1000.0)  # else tanh would change next to nothing
        agent.export(tmp_path / "p")
        chosen = agent.algorithm.policy(tensor_batch(obs=agent.buffer.read(obs))).act
    assert 0.5 < chosen.abs().max() < 1.0
    torch.testing.assert_close(policy.load_policy(tmp_path / "p", "cpu")(obs), chosen)


@pytest.mark.parametrize("algo", baselines.names())
def test_every_action_is_in_the_action_space(algo):
    agent = learner(algo, **({"init_std": 3.0} if "init_std" in small_config(algo) else {}))
    actions, step = [], agent.env.step
    agent.env.step = lambda action: actions.append(action.clone()) or step(action)
    for _ in range(3):
        agent.iterate()
    assert torch.stack(actions).abs().max() <= 1.0


def test_what_a_continuous_critic_learns_from_is_what_the_env_took():
    agent = learner("td3", noise_max=3.0)
    for _ in range(4):
        agent.iterate()
    assert agent.buffer.act.abs().max() == 1.0


@pytest.mark.parametrize("algo", baselines.names())
def test_a_rollout_acts_as_the_policy_in_training(algo):
    policy, obs = learner(algo).algorithm.policy, torch.randn(5000, 6)
    torch.manual_seed(0)
    with torch.no_grad(), policy_within_training_step(policy):
        one, two = policy(tensor_batch(obs=obs)).act, policy.act(obs)
    torch.testing.assert_close(one.double().mean(0), two.double().mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(one.double().std(0), two.double().std(0), atol=0.06, rtol=0)


class NoWaiting(TorchDispatchMode):
    """Fails where a value of a tensor is needed on the host."""

    waits = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        assert not name.startswith(self.waits), f"{name} waits for the device"
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("algo", [name for name in baselines.names() if name != "dqn"])
def test_a_step_never_waits_for_the_device(algo):
    env = trivial_env.SPEC.build(SMALL["num_envs"], "cpu", "torch")
    agent = learner(algo, env=env)
    agent.iterate()
    with NoWaiting():
        agent.collector.step(agent._act)
        agent.collector.step(getattr(agent, "_explore", agent._act))
        agent.collector.step(getattr(agent, "_random", agent._act))


def test_a_transition_is_stored_before_the_env_overwrites_it():
    env = trivial_env.SPEC.build(SMALL["num_envs"], "cpu", "torch")
    agent = learner("ppo", env=env, horizon=6)
    agent.iterate()
    assert torch.equal(agent.buffer.obs, env._pool[:7])


def test_rewards_are_scaled_for_the_learner_alone():
    stored, returns = [], []
    for scale in (1.0, 0.5):
        agent = learner("a2c", reward_scale=scale, horizon=60)
        returns.append(agent.iterate()[0]["return_mean"])
        stored.append(agent.buffer.reward)
    assert torch.equal(stored[0] * 0.5, stored[1])
    assert returns[0] == returns[1]


def test_the_learning_rate_follows_the_divergence():
    agent = learner("ppo", desired_kl=0.01)
    adapt, start = agent.algorithm._adapt_learning_rate, agent.algorithm.learning_rate
    adapt(0.03)
    assert agent.algorithm.learning_rate == pytest.approx(start / 1.5)
    adapt(0.01)
    assert agent.algorithm.learning_rate == pytest.approx(start / 1.5)
    adapt(0.001)
    assert agent.algorithm.learning_rate == pytest.approx(start)
    for _ in range(30):
        adapt(0.03)
    assert agent.algorithm.learning_rate == agent.cfg.learning_rate_min
    for _ in range(30):
        adapt(0.0)
    assert agent.algorithm.learning_rate == agent.cfg.learning_rate_max


def test_what_cannot_be_trained_is_refused():
    env = tasks.get("toy-reach").build(4, "cpu", "torch")
    with pytest.raises(ValueError, match=r"the env has 4 rows, the config asks for num_envs=8"):
        learner("ppo", env=env)
    with pytest.raises(ValueError, match="unknown learner 'alphago'"):
        baselines.make_agent("alphago", env, small_config("ppo"))
    env = trivial_env.SPEC.build(SMALL["num_envs"], "cpu", "torch")
    with pytest.raises(ValueError, match="trivial declares no discrete_actions"):
        learner("dqn", env=env)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("desired_kl", [None, 0.01])
def test_a_recorded_pass_is_the_pass(monkeypatch, desired_kl):
    def trained(recording):
        monkeypatch.setattr(on_policy, "Recording", recording)
        env = tasks.get("toy-reach").build(64, "cuda:0", "torch")
        agent = learner("ppo", env=env, num_envs=64, desired_kl=desired_kl)
        losses = [agent.iterate()[0]["loss"] for _ in range(5)]
        return list(agent.algorithm.parameters()), losses, agent.algorithm.learning_rate

    recorded, losses, rate = trained(on_policy.Recording)
    asked, their_losses, their_rate = trained(lambda function, batch: function)
    assert rate == their_rate
    assert losses == pytest.approx(their_losses, rel=1e-5)
    for a, b in zip(recorded, asked, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_what_is_repeated_is_recorded_once_it_has_been_called(monkeypatch, capsys):
    graphs = []

    def graph(function, inputs):
        graphs.append(inputs)
        return lambda *inputs: ("replayed", *inputs)

    monkeypatch.setattr("tasks.cuda.graph.Graph", graph)
    called, (x, y) = Repeated(lambda *inputs: ("called", *inputs)), (SimpleNamespace(is_cuda=True) for _ in range(2))
    assert [called(x), called(y), called(x)] == [("called", x), ("replayed", y), ("replayed", x)]
    assert graphs == [(y,)]

    def broken(function, inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("tasks.cuda.graph.Graph", broken)
    called = Repeated(lambda *inputs: ("called", *inputs))
    assert [called(x), called(y), called(x)] == [("called", x), ("called", y), ("called", x)]
    assert capsys.readouterr().err.count("not permitted") == 1
    on_cpu = torch.zeros(3)
    called = Repeated(lambda x: x + 1.0)
    assert [called(on_cpu).tolist() for _ in range(3)] == [[1.0] * 3] * 3


def test_nothing_is_lost_when_what_was_chosen_and_followed_is_overwritten(monkeypatch):
    def trained():
        agent = learner("ppo", num_envs=16, horizon=40)
        rounds = [agent.iterate() for _ in range(4)]
        assert sum(len(episodes.returns) for _, episodes in rounds) > 16
        return agent.algorithm.state_dict(), [vars(episodes) for _, episodes in rounds]  # those of all rounds, kept

    parameters, episodes = trained()
    for module in ("learner.learners", "data.episodes"):
        monkeypatch.setattr(f"baselines.{module}.Repeated", Kept)
    again, kept = trained()
    assert all(torch.equal(x, again[name]) for name, x in parameters.items() if isinstance(x, torch.Tensor))
    for one, other in zip(episodes, kept, strict=True):
        assert all(torch.equal(x, other[name]) for name, x in one.items() if isinstance(x, torch.Tensor))


@pytest.mark.parametrize("device", ["cpu", "cuda:0"] if torch.cuda.is_available() else ["cpu"])
def test_recorded_choices_are_the_choices(monkeypatch, device):
    def trained(repeated):
        monkeypatch.setattr("baselines.learner.learners.Repeated", repeated)
        agent = learner("ppo", env=tasks.get("toy-reach").build(64, device, "torch"), num_envs=64)
        agent.iterate()
        return agent.buffer.act.clone()

    recorded = Kept if device == "cpu" else Repeated
    assert torch.equal(trained(recorded), trained(lambda function: function))
