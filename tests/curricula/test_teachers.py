"""Every teacher on problems of known structure: it does what its paper says, stops and resumes, and never waits."""

import dataclasses

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

import curricula
import tasks
from baselines.learner import checkpoint
from curricula.episodes import Episodes
from curricula.teacher import BINS
from curricula.teachers.alp_gmm import fit
from curricula.teachers.spdl import divergence
from curricula.teachers.staged import MAX_PATIENCE
from tasks.spec import Factor

torch.set_num_threads(1)

N = 256


def factor(name, low, high, nominal, trainable=True):
    return Factor(
        name=name,
        category="physical",
        unit="1",
        nominal=nominal,
        ranges={"r1": (nominal, (nominal + high) / 2), "r3": (low, high)} if trainable else {},
        evaluation=(low - 1.0, high + 1.0),
        effect="",
    )


SPEC = dataclasses.replace(
    tasks.get("toy-reach"),
    factors=(factor("mass", 0.5, 2.5, 1.0), factor("drag", 0.0, 1.0, 0.0, trainable=False), factor("wind", -4, 4, 0)),
)
FAST = {
    "reverse": {"window": 512},
    "alp_gmm": {"window": 1024, "fit_every": 512, "neighbours": 32},
    "spdl": {"fit_every": 512},
    "plr": {"levels": 64},
    "adr": {"window": 32},
}


def make(name, target="difficulty", level=None, seed=0, **settings):
    cfg = curricula.config.load(name)
    settings = FAST.get(name, {}) | settings
    if name != "none":
        settings["target"] = target
    cfg = OmegaConf.merge(cfg, settings)
    return curricula.make(cfg, SPEC, level or ("r0" if target == "difficulty" else "r3"), N, "cpu", seed)


class Play:
    """Envs whose episodes succeed with a probability that depends on where they are."""

    def __init__(self, teacher, probability, seed=0):
        self.teacher, self.probability = teacher, probability
        self.generator = torch.Generator().manual_seed(seed)
        self.points = None  # of the latest round
        self.advantage = lambda points: None

    def round(self):
        env_ids = torch.arange(N)
        given = self.teacher.sample(env_ids)
        difficulty, factors = given if isinstance(given, tuple) else (given, torch.zeros(N, 3))
        zeros = torch.zeros(N)
        episodes = Episodes(env_ids, difficulty, factors, zeros, zeros, zeros.bool(), zeros.bool(), 0)
        self.points = self.teacher.space.points(episodes)
        success = torch.rand(N, generator=self.generator) < self.probability(self.points)
        outcome = {"success_once": success, "success_at_end": success, "advantage": self.advantage(self.points)}
        self.teacher.update(dataclasses.replace(episodes, **outcome))
        return self

    def rounds(self, count):
        """Points of all rounds [count, N, D]."""
        return torch.stack([self.round().points for _ in range(count)])


def up_to(limit, width=0.02):
    """Success that falls from 1 to 0 where the first coordinate passes `limit`."""
    return lambda points: torch.sigmoid((limit - points[:, 0]) / width)


def always(points):
    return torch.ones(len(points))


def never(points):
    return torch.zeros(len(points))


TAUGHT = [name for name in curricula.names() if name != "none"]


def test_none_stays_at_its_grade():
    teacher = make("none", grade="g5")
    assert (Play(teacher, always).rounds(3) == 1.0).all()
    teacher = make("none", level="r1")
    difficulty, factors = teacher.sample(torch.arange(N))
    assert (difficulty == 0.5).all()
    assert (factors[:, 1] == 0.0).all()  # held out
    assert (factors[:, 0] >= 1.0).all()
    assert (factors[:, 0] <= 1.75).all()
    assert factors[:, 0].std() > 0.1


def test_uniform_covers_everything_alike():
    teacher = make("uniform", "both")
    points = Play(teacher, never).rounds(40).flatten(0, 1)
    assert points.shape == (40 * N, 3)
    counts = torch.stack([torch.histc(points[:, axis], 10, 0, 1) for axis in range(3)])
    assert ((counts / counts.mean() - 1).abs() < 0.15).all()


def test_staged_climbs_falls_and_holds_between_the_thresholds():
    play = Play(make("staged"), always)
    play.rounds(100)
    assert (play.teacher.stage == 1.0).all()
    play.probability = never
    play.rounds(100)
    assert (play.teacher.stage == 0.0).all()
    teacher = make("staged", promote=1.0, demote=0.0)
    play = Play(teacher, lambda points: (torch.arange(N) % 2 == play.count % 2).float())
    play.count = 0
    for play.count in range(60):  # every env: half of its episodes
        play.round()
    assert (teacher.stage == 0.0).all()


def test_staged_does_not_oscillate_at_a_cliff():
    """Success is certain up to 0.55 and impossible above: climbs become rarer, and the stage stays just below."""
    play = Play(make("staged"), lambda points: (points[:, 0] <= 0.55).float())
    play.rounds(1000)
    stages = play.rounds(1000)[:, :, 0]
    moves = (stages.diff(dim=0).abs() > 0.01).sum(dim=0)
    window = play.teacher.cfg.window
    assert (moves <= 2 * (1000 // (MAX_PATIENCE * window) + 1)).all()
    assert ((stages - 0.5).abs() < 0.01).float().mean() > 0.85


def test_reverse_follows_the_frontier():
    play = Play(make("reverse"), up_to(0.3, 0.05))
    assert play.round().points.mean() < 0.1  # from the easiest start
    play.rounds(60)
    assert abs(play.teacher.pool.mean() - 0.3) < 0.08
    assert (play.teacher.pool > 0.6).float().mean() < 0.02
    play.probability = up_to(0.8, 0.05)  # the learner has improved
    play.rounds(60)
    assert abs(play.teacher.pool.mean() - 0.8) < 0.08
    play.probability = never  # and collapses: the starts it has stay
    play.rounds(4)
    pool = play.teacher.pool.clone()
    play.rounds(10)
    assert play.teacher.pool.equal(pool)


def test_adr_ranges_grow_only_while_performance_holds():
    teacher = make("adr", "both")
    mass, wind = teacher.space.origin[1:].tolist()

    def probability(points):
        """Anything goes with the wind; the mass may grow up to 0.6 of its range; difficulty up to 0.5."""
        good = (points[:, 0] <= 0.5) & (points[:, 1] <= 0.6)
        return 0.97 * good.float()

    play = Play(teacher, probability)
    highs = []
    for _ in range(400):
        play.round()
        highs.append(teacher.high.clone())
    step = teacher.cfg.step
    assert mass < 0.3
    assert teacher.low[0] == 0.0
    assert abs(teacher.high[0] - 0.5) <= 1.5 * step
    assert abs(teacher.high[1] - 0.6) <= 1.5 * step
    assert teacher.low[1] == 0.0
    assert (teacher.low[2], teacher.high[2]) == (0.0, 1.0)
    assert (torch.stack(highs).diff(dim=0).abs() <= step + 1e-6).all()
    play.probability = never
    play.rounds(2000)
    assert teacher.high.equal(teacher.space.origin)
    assert teacher.low.equal(teacher.space.origin)
    assert abs(teacher.space.origin[2] - wind) < 1e-6


def test_adr_stays_between_its_thresholds():
    play = Play(make("adr"), lambda points: torch.full((N,), 0.6))
    play.rounds(100)
    assert play.teacher.high == 0.0


def test_plr_replays_the_levels_with_the_highest_score():
    """Success is a coin's in a band, and certain or impossible elsewhere."""
    play = Play(make("plr"), lambda points: 1.0 * (points[:, 0] < 0.3) + 0.5 * ((points[:, 0] - 0.4).abs() <= 0.1))
    points = play.rounds(60)
    assert play.teacher.seen.all()  # every level was tried before
    late = points[30:].flatten()
    band = (late - 0.4).abs() <= 0.1
    assert band.float().mean() > 0.5  # 0.2 of the levels
    assert len(late.unique()) == len(play.teacher.levels)  # staleness brings back the others too
    scores = play.teacher.score()
    assert scores[(play.teacher.levels[:, 0] - 0.4).abs() <= 0.1].mean() > 5 * scores.mean() / 4


def test_plr_replays_the_levels_with_the_largest_advantages():
    play = Play(make("plr", score="advantage"), never)
    play.advantage = lambda points: 1.0 + 9.0 * ((points[:, 0] - 0.4).abs() <= 0.1)
    late = play.rounds(60)[30:].flatten()
    assert ((late - 0.4).abs() <= 0.1).float().mean() > 0.5  # 0.2 of the levels
    scores = play.teacher.score()
    band = (play.teacher.levels[:, 0] - 0.4).abs() <= 0.1
    assert scores[band] == pytest.approx(10.0, rel=1e-4)
    assert scores[~band] == pytest.approx(1.0, rel=1e-4)


def test_plr_levels_cover_the_space_and_new_ones_come_with_their_share():
    play = Play(make("plr", "both", levels=256), never)
    teacher = play.teacher
    assert torch.histc(teacher.levels[:, 1], 8, 0, 1).eq(32).all()
    play.round()
    unseen = teacher.seen == 0
    assert 0.2 < unseen.float().mean() < 0.5  # 256 draws of 256 levels
    draws = teacher.propose(torch.arange(20_000))
    new = (torch.cdist(draws, teacher.levels).argmin(dim=1)[:, None] == unseen.nonzero().squeeze(1)).any(dim=1)
    assert abs(new.float().mean() - unseen.float().mean()) < 0.02
    before = teacher.state_dict()["kept"]
    teacher.update(Episodes(*[torch.zeros(0)] * 7, 0))  # nothing ended: nothing changes
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(getattr(teacher, name))) for name in before)


def test_alp_gmm_finds_the_learnable_band():
    """Success grows where it is trained on between 0.3 and 0.5; below all is known, above nothing can be learned."""
    skill = torch.zeros(N)

    def probability(points):
        inside = (points[:, 0] >= 0.3) & (points[:, 0] < 0.5)
        skill[:] = (skill + 0.05 * inside.float().mean()).clamp(max=1.0)
        return 1.0 * (points[:, 0] < 0.3) + skill * inside

    play = Play(make("alp_gmm"), probability)
    play.rounds(4)
    late = play.rounds(40).flatten()
    assert ((late >= 0.25) & (late <= 0.55)).float().mean() > 0.6
    assert (late > 0.8).float().mean() > 0.02  # the uniform share


def test_mixtures_of_known_components_are_recovered():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.2, 0.0], [0.5, 0.8], [0.9, 0.1]])
    data = centres.repeat(400, 1) + 0.03 * torch.randn(1200, 2, generator=generator)
    weights, means, scales = fit(data, 6, 60, generator)
    present = weights > 0.05
    nearest = torch.cdist(centres, means[present])
    assert (nearest.min(dim=1).values < 0.02).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-4)
    assert scales[present].diagonal(dim1=1, dim2=2).max() < 0.08
    same = torch.full((100, 2), 0.5)  # no spread at all
    assert all(part.isfinite().all() for part in fit(same, 4, 20, generator))


def test_spdl_widens_to_the_target_while_success_holds():
    play = Play(make("spdl"), always)
    start = play.teacher.std.clone()
    play.rounds(2)
    assert play.teacher.mean[0] < 0.3
    play.rounds(100)
    cfg = play.teacher.cfg
    assert play.teacher.mean[0] == pytest.approx(cfg.target_mean, abs=0.02)
    assert play.teacher.std[0] == pytest.approx(cfg.target_std, abs=0.02)
    assert start < play.teacher.std


def test_spdl_keeps_the_success_it_was_asked_for_and_retreats_below():
    play = Play(make("spdl", success=0.7), up_to(0.3))
    play.rounds(200)
    assert 0.6 < up_to(0.3)(play.rounds(40).flatten(0, 1)).mean() < 0.9
    wide = play.teacher.mean.item()
    play.probability = up_to(0.1)
    play.rounds(200)
    assert play.teacher.mean < wide
    assert up_to(0.1)(play.rounds(40).flatten(0, 1)).mean() > 0.6


def test_spdl_moves_no_further_than_the_divergence_allows():
    play = Play(make("spdl", "both"), always)
    for _ in range(30):
        before = torch.cat((play.teacher.mean, play.teacher.std.log())).double().numpy()
        play.round()
        after = torch.cat((play.teacher.mean, play.teacher.std.log())).double().numpy()
        assert divergence(after, before)[0] <= 1.11 * play.teacher.cfg.divergence


@pytest.mark.parametrize("target", ["difficulty", "factors", "both"])
@pytest.mark.parametrize("name", TAUGHT)
def test_stop_and_resume_give_the_same_next_samples(name, target, tmp_path):
    play = Play(make(name, target), up_to(0.4))
    play.rounds(7)
    checkpoint.save(tmp_path / "file", {}, play.teacher.state_dict())
    draws = play.generator.get_state()
    expected = play.rounds(9)
    again = Play(make(name, target, seed=1), up_to(0.4))
    again.teacher.load_state_dict(checkpoint.load(tmp_path / "file", {}, torch.device("cpu"))[1])
    again.generator.set_state(draws)
    assert again.rounds(9).equal(expected)
    assert all(isinstance(value, float) for value in again.teacher.report().values())


@pytest.mark.parametrize("name", TAUGHT)
def test_a_stop_between_two_steps_gives_the_same_next_samples(name):
    play = Play(make(name, "both"), always)
    play.rounds(30)
    few = torch.arange(7)
    play.teacher.sample(few)
    state = play.teacher.state_dict()
    expected = [torch.cat([x.view(7, -1) for x in play.teacher.sample(few + k)], dim=1) for k in range(60)]
    again = make(name, "both", seed=1)
    again.load_state_dict(state)
    for k, x in enumerate(expected):
        assert torch.cat([x.view(7, -1) for x in again.sample(few + k)], dim=1).equal(x)
    assert not expected[0].equal(expected[1])
    assert sum(again.take_started()) == 60 * 7


@pytest.mark.parametrize("name", TAUGHT)
def test_episodes_are_drawn_once_between_two_updates_and_anew_after_each(name, monkeypatch):
    play = Play(make(name), up_to(0.4))
    drawn = []
    propose = play.teacher.propose
    monkeypatch.setattr(play.teacher, "propose", lambda env_ids: drawn.append(1) or propose(env_ids))
    for _ in range(3):
        play.round()
        drawn.clear()
        for _ in range(4):
            play.teacher.sample(torch.arange(2))
        assert len(drawn) == 1


def test_the_state_of_another_teacher_is_refused():
    with pytest.raises(ValueError, match="'uniform', this one is 'adr'"):
        make("adr").load_state_dict(make("uniform").state_dict())


@pytest.mark.parametrize("name", TAUGHT)
def test_what_is_moved_and_what_is_not(name):
    teacher = make(name, "factors", grade="g2")
    play = Play(teacher, always)
    play.rounds(20)
    difficulty, factors = teacher.sample(torch.arange(N, dtype=torch.int32))
    assert (difficulty == 0.25).all()
    assert (factors[:, 1] == 0.0).all()  # held out: nominal
    for column, low, high in ((0, 0.5, 2.5), (2, -4.0, 4.0)):
        assert factors[:, column].min() >= low - 1e-5
        assert factors[:, column].max() <= high + 1e-5
        assert factors[:, column].std() > 0
    assert teacher.space.axes == ("mass", "wind")
    only = make(name, "both", factors=["wind"])
    assert only.space.axes == ("difficulty", "wind")
    _, factors = only.sample(torch.arange(N))
    assert factors[:, 0].std() > 0.3  # the mass: uniform over its range at r3
    assert not isinstance(make(name, "difficulty").sample(torch.arange(N)), tuple)


class NoWaiting(TorchDispatchMode):
    """Refuses operations that would make the host wait for a CUDA device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        waits = name in ("_local_scalar_dense", "nonzero", "masked_select", "multinomial", "unique", "equal", "item")
        if name in ("index", "index_put", "index_put_"):
            waits |= any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])
        if name == "_to_copy":
            waits |= (kwargs or {}).get("device") is not None
        if waits:
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("target", ["difficulty", "both"])
@pytest.mark.parametrize("name", TAUGHT)
def test_sampling_never_waits_for_the_device(name, target):
    play = Play(make(name, target), up_to(0.4))
    for _ in range(6):
        with NoWaiting():
            play.teacher.sample(torch.arange(N))
        play.round()


@pytest.mark.parametrize("name", [name for name in TAUGHT if name not in ("reverse", "spdl")])
def test_learning_does_not_wait_either_but_where_a_fit_needs_the_host(name):
    play = Play(make(name, "both"), up_to(0.4))
    update = play.teacher.update

    def watched(episodes):
        with NoWaiting():
            update(episodes)

    play.teacher.update = watched
    play.rounds(6)


def test_what_was_handed_out_is_counted_by_difficulty():
    teacher = make("none", grade="g3")
    teacher.sample(torch.arange(N))
    teacher.sample(torch.arange(10))
    expected = [0] * BINS
    expected[5] = N + 10
    assert teacher.take_started() == expected
    assert teacher.take_started() == [0] * BINS
