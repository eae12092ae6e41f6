"""Returns, buffers, normaliser, episodes, exploration: against plain loops and closed forms."""

from types import SimpleNamespace

import pytest
import torch

import tasks
from baselines.data import replay_buffer
from baselines.data.episodes import EpisodeLog, summary
from baselines.data.normalizer import ObsNormalizer
from baselines.data.replay_buffer import ReplayBuffer
from baselines.data.returns import gae, nstep
from baselines.errors import BufferTooLargeError
from baselines.learner import exploration
from baselines.tianshou.batch import tensor_batch
from tests.helpers.stock import fill, transitions

CPU = torch.device("cpu")


def test_gae_of_a_constant_reward_is_the_geometric_sum():
    reward, zero, done = torch.ones(5, 1), torch.zeros(5, 1), torch.zeros(5, 1, dtype=torch.bool)
    advantage = gae(reward, zero, zero, done, gamma=0.9, gae_lambda=1.0)
    expected = [sum(0.9**k for k in range(5 - t)) for t in range(5)]
    assert advantage.squeeze().tolist() == pytest.approx(expected)


def test_gae_stops_at_the_end_of_an_episode():
    reward, zero = torch.ones(3, 1), torch.zeros(3, 1)
    done = torch.tensor([[False], [True], [False]])
    advantage = gae(reward, zero, zero, done, gamma=0.5, gae_lambda=1.0)
    assert advantage.squeeze().tolist() == [1.5, 1.0, 1.0]


def test_nstep_discounts_the_target_by_the_steps_taken():
    reward = torch.tensor([[1.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    end = torch.tensor([[False, True], [False, True], [False, True]])
    got = nstep(reward, end, torch.tensor([8.0, 8.0]), gamma=0.5)
    assert got.tolist() == [1 + 1 + 1 + 1, 1 + 4]


def filled(rows, capacity, norm=None):
    buffer = ReplayBuffer(capacity, len(rows[0].reward), rows[0].obs.shape[1], rows[0].act[0], CPU, norm)
    fill(buffer, rows)
    return buffer


def test_the_ring_keeps_the_newest_transitions_with_their_true_next_observation():
    rows = transitions(7, 3, 4, 2)
    buffer = filled(rows, 12)  # 4 rows of 3
    assert len(buffer) == 12
    kept = {tuple(obs) for obs in buffer.obs.flatten(0, 1).tolist()}
    assert kept == {tuple(obs) for row in rows[-4:] for obs in row.obs.tolist()}
    for row in rows[-4:]:
        for env in range(3):
            place = (buffer.obs == row.obs[env]).all(-1).nonzero().squeeze(0)
            ended = row.terminated[env] | row.truncated[env]
            expected = row.final_obs[env] if ended else row.next_obs[env]
            assert torch.equal(buffer.next_obs[tuple(place)], expected)


def test_a_size_that_is_no_multiple_of_the_envs_is_rounded_up():
    assert len(filled(transitions(9, 3, 4, 2), 10)) == 12


def test_a_window_does_not_cross_an_end_or_the_newest_row():
    rows = transitions(3, 2, 4, 2)
    for row in rows:
        row.terminated[:], row.truncated[:] = False, False
    rows[1].truncated[0] = True
    buffer = filled(rows, 100)
    window, end = buffer.window(torch.tensor([0, 1]), 4)
    assert window.T.tolist() == [[0, 2, 2, 2], [1, 3, 5, 5]]
    assert end.T.tolist() == [[False, True, True, True], [False, False, True, True]]


def test_no_window_crosses_a_reset_of_the_envs():
    rows = transitions(2, 2, 4, 2)
    for row in rows:
        row.terminated[:], row.truncated[:] = False, False
    buffer = filled(rows, 100)
    buffer.cut()
    fill(buffer, rows)
    window, _ = buffer.window(torch.tensor([0]), 4)
    assert window.squeeze().tolist() == [0, 2, 2, 2]


def test_draws_are_from_what_is_filled():
    buffer = filled(transitions(3, 2, 4, 2), 100)
    assert set(buffer.sample_indices(500).tolist()) == set(range(6))


def test_observations_are_standardised_where_they_are_read():
    norm = ObsNormalizer(4)
    buffer = filled(transitions(3, 2, 4, 2), 100, norm)
    norm.update(torch.randn(50, 4) * 3 + 1)
    batch, indices = buffer.sample(5)
    assert torch.equal(batch.obs, norm(buffer.obs.flatten(0, 1)[indices]))
    assert torch.equal(buffer.read_next_obs(indices), norm(buffer.next_obs.flatten(0, 1)[indices]))


def test_a_buffer_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(replay_buffer, "free_memory", lambda device: 2**30)
    with pytest.raises(BufferTooLargeError, match=r"20000000 transitions needs 1\.8 GiB, cpu has 1\.0 GiB free"):
        ReplayBuffer(20_000_000, 1000, 10, torch.zeros(2), CPU, None)


def test_free_memory_is_measured():
    assert replay_buffer.free_memory(CPU) > 0


def test_a_loaded_buffer_goes_on_as_the_saved_one():
    rows = transitions(9, 3, 4, 2)
    one, two = filled(rows[:5], 12), filled(rows[:1], 12)
    two.load_state_dict(one.state_dict())
    for buffer in (one, two):
        fill(buffer, rows[5:])
    for name in ("obs", "next_obs", "act", "reward", "terminated", "done"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.state_dict()["cursor"] == two.state_dict()["cursor"]


def test_the_normalizer_has_the_statistics_of_all_it_saw():
    data = torch.randn(300, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1]) + 7
    norm = ObsNormalizer(3)
    for part in data.split([1, 99, 150, 50]):
        norm.update(part)
    torch.testing.assert_close(norm.mean, data.mean(0))
    torch.testing.assert_close(norm.var, data.var(0, unbiased=False))
    torch.testing.assert_close(norm(data), (data - data.mean(0)) / (data.std(0, unbiased=False) + 0.01))


def test_the_normalizer_is_the_identity_at_first_and_clips():
    obs = torch.tensor([[0.5, -300.0]])
    assert ObsNormalizer(2)(obs).tolist() == [[pytest.approx(0.5, rel=0.02), -10.0]]


def test_a_graph_is_given_the_statistics_themselves(monkeypatch):
    norm, obs = ObsNormalizer(3), torch.randn(50, 3)
    norm.update(obs * 4.0 + 1.0)
    expected, kept = norm(obs), norm._applied
    monkeypatch.setattr("baselines.data.normalizer._captured", lambda x: True)
    read = []
    monkeypatch.setattr(norm, "scale", lambda: read.append(norm.var) or ObsNormalizer.scale(norm))
    assert torch.equal(norm(obs), expected)
    assert len(read) == 1
    assert norm._applied is kept  # and those that others use are not made within the graph


def test_a_split_gives_every_row_once():
    batch = tensor_batch(obs=torch.arange(10.0)[:, None], adv=torch.arange(10.0))
    parts = list(batch.split(4, merge_last=True))
    assert [len(part.adv) for part in parts] == [4, 6]
    assert sorted(torch.cat([part.adv for part in parts]).tolist()) == list(range(10))
    assert all(torch.equal(part.obs.squeeze(1), part.adv) for part in parts)
    assert [len(part.adv) for part in batch.split(4)] == [4, 4, 2]
    assert [len(part.adv) for part in batch.split(-1)] == [10]
    assert torch.equal(next(iter(batch.split(3, shuffle=False))).adv, torch.arange(3.0))


def test_episodes_are_counted_over_iterations():
    log = EpisodeLog(2, 2, 1, CPU)

    def step(reward, done, success):
        extras = {"success": torch.tensor(success), "difficulty": torch.tensor([0.25, 0.75])}
        extras["factors"] = torch.tensor([[5.0], [7.0]])
        log.record(torch.tensor(reward), torch.tensor(done), extras)

    step([1.0, 2.0], [False, False], [True, False])
    step([1.0, 2.0], [False, True], [False, False])
    first = log.take(4)
    assert (first.env_ids.tolist(), first.returns.tolist(), first.lengths.tolist()) == ([1], [4.0], [2.0])
    assert first.env_steps == 4
    step([1.0, 2.0], [True, False], [False, False])
    step([1.0, 2.0], [True, True], [True, True])
    second = log.take(8)
    assert second.env_ids.tolist() == [0, 0, 1]
    assert second.returns.tolist() == [3.0, 1.0, 4.0]
    assert second.success_once.tolist() == [True, True, True]
    assert second.success_at_end.tolist() == [False, True, True]
    assert second.difficulty.tolist() == [0.25, 0.25, 0.75]
    assert second.factors.tolist() == [[5.0], [5.0], [7.0]]
    means = summary(second, "end")
    assert means["episodes"] == 3
    assert means["return_mean"] == pytest.approx(8 / 3)
    assert means["success_mean"] == pytest.approx(2 / 3)


def test_episodes_that_a_staggered_reset_cuts_short_do_not_count():
    log = EpisodeLog(3, 2, 0, CPU)
    extras = {"success": torch.tensor([True, True]), "difficulty": torch.zeros(2), "factors": torch.zeros(2, 0)}
    log.reset(cut_short=True)
    for done in ([True, False], [True, False], [True, True]):
        log.record(torch.ones(2), torch.tensor(done), extras)
    episodes = log.take(6)
    assert episodes.env_ids.tolist() == [0, 0]
    assert episodes.lengths.tolist() == [1.0, 1.0]


def test_short_episodes_do_not_stand_for_all_after_a_reset():
    """Half of the episodes succeed, after 20 steps; the others fail after 4."""
    n, length = 4000, 20
    generator = torch.Generator().manual_seed(0)

    def success(**reset):
        log = EpisodeLog(5, n, 0, CPU)
        log.reset(cut_short=True, **reset)
        left, good = torch.randint(1, length + 1, (n,), generator=generator), torch.zeros(n, dtype=torch.bool)
        rates = []
        for _ in range(12):
            for _ in range(5):
                left = left - 1
                ends = left == 0
                extras = {"success": ends & good, "difficulty": torch.zeros(n), "factors": torch.zeros(n, 0)}
                log.record(torch.zeros(n), ends, extras)
                good = torch.where(ends, torch.rand(n, generator=generator) < 0.5, good)
                left = torch.where(ends, torch.where(good, length, 4), left)
            rates.append(summary(log.take(0), "once")["success_mean"])
        return rates

    at_once, settled = success(), success(unsettled=length)
    assert max(at_once[:4]) < 0.05
    assert all(rate != rate for rate in settled[:4])  # none
    assert all(0.35 < rate < 0.6 for rate in settled[4:])
    assert sum(settled[4:]) / 8 == pytest.approx(0.5, abs=0.03)


def test_a_summary_of_no_episodes_is_nan():
    log = EpisodeLog(1, 1, 0, CPU)
    extras = {"success": torch.tensor([False]), "difficulty": torch.zeros(1), "factors": torch.zeros(1, 0)}
    log.record(torch.ones(1), torch.tensor([False]), extras)
    means = summary(log.take(1), "once")
    assert means["episodes"] == 0
    assert means["return_mean"] != means["return_mean"]


def test_exploration_differs_between_envs():
    torch.manual_seed(0)
    noisy = exploration.gaussian(lambda obs: torch.zeros(3, 2), 3, 0.0, 2.0, CPU)
    spread = torch.stack([noisy(None) for _ in range(4000)]).std(dim=(0, 2))
    assert spread.tolist() == pytest.approx([0.0, 1.0, 2.0], abs=0.05)
    greedy = exploration.epsilon_greedy(lambda obs: torch.zeros(3, dtype=torch.long), 3, 4, 0.01, 1.0, CPU)
    moved = (torch.stack([greedy(None) for _ in range(4000)]) > 0).float().mean(0)
    assert moved.tolist() == pytest.approx([0.75, 0.075, 0.0075], abs=0.03)


def test_random_actions_cover_the_action_set():
    spec = SimpleNamespace(actions=torch.tensor(tasks.get("toy-reach").discrete_actions))
    assert set(exploration.uniform(500, 2, spec.actions, CPU)(None).tolist()) == set(range(5))
    draws = exploration.uniform(500, 2, None, CPU)(None)
    assert draws.shape == (500, 2)
    assert -1 <= draws.min() < -0.95
    assert 0.95 < draws.max() <= 1
