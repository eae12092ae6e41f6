"""What a CUDA graph could not hold is found before one is made, without CUDA."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import tasks
from tasks.core.draws import Draws, direction
from tasks.cuda import record
from tests.helpers.fake_graphs import FakeGraph, Kept


class Scene:
    def __init__(self):
        self.articulations, self.rigid_objects, self.rigid_object_collections, self.sensors = {}, {}, {}, {}


class Env:
    """As much of a `GradedEnv` as a part needs."""

    def __init__(self):
        self.scene, self._now = Scene(), {}
        self.count, self.level = torch.zeros(4), torch.ones(4)
        self.limit = 2.0


def calls(part, env=None, times=record.LOOKS + 3):
    env = env or Env()
    called = record.Recorded(env, lambda *inputs: part(env, *inputs))
    return called, [called().clone() for _ in range(times)]


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    monkeypatch.setattr(record, "_Graph", FakeGraph)


def counting(env):
    env.count.add_(env.level)
    return env.count * 2.0


def test_a_part_that_always_does_the_same_is_recorded():
    called, found = calls(counting)
    assert isinstance(called._graph, FakeGraph)
    assert [x[0].item() for x in found] == [2.0 * k for k in range(1, len(found) + 1)]


def test_inputs_are_handed_over_and_may_be_other_tensors_each_time():
    env = Env()
    called = record.Recorded(env, lambda x: x + env.level)
    found = [called(torch.full((4,), float(k))).clone() for k in range(record.LOOKS + 3)]
    assert isinstance(called._graph, FakeGraph)
    assert [x[0].item() for x in found] == [k + 1.0 for k in range(len(found))]


def replaced(env):
    env.count = env.count + 1.0
    return env.count


def number(env):
    env.limit += 1.0
    return env.level * env.limit


def longer(env):
    env.limit += 1.0
    return env.level + 1.0 if env.limit < 5.0 else env.level + 1.0 + env.level


def waiting(env):
    return env.level * float(env.level.sum())


def choosing(env):
    return env.level[env.level > 0.0]


def drawing(env):
    return env.level * torch.rand(4)


def from_host(env):
    return env.level + torch.tensor((1.0, 2.0, 3.0, 4.0))


def solving(env):
    return torch.cholesky_solve(env.level[:, None], torch.eye(4))[:, 0]


def assigning(env):
    env.level[1:3] = 3.0
    return env.level


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (replaced, "is replaced by another tensor or number"),
        (number, "is replaced by another tensor or number"),
        (longer, "more or fewer than before"),
        (waiting, "waits for the device"),
        (choosing, "waits for the device"),
        (drawing, "random numbers are drawn"),
        (from_host, "numbers are brought from the host"),
        (assigning, "numbers are brought from the host"),
        (solving, "a solver is called"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused_and_goes_on_as_it_is(part, why, capsys):
    torch.manual_seed(0)
    called, found = calls(part)
    assert why in called.why_not
    assert called._graph is None
    assert "is not recorded as a CUDA graph" in capsys.readouterr().err
    torch.manual_seed(0)
    env = Env()
    assert all(torch.equal(x, part(env)) for x in found)


def test_a_kernel_of_warps_is_refused():
    import warp

    @warp.kernel
    def nothing():
        pass

    command = warp.launch(nothing, 1, device="cpu", record_cmd=True)

    def launching(env):
        warp.launch(nothing, 1, device="cpu")
        return env.level + 1.0

    def again(env):
        command.launch()
        return env.level + 1.0

    for part in launching, again:
        called, _ = calls(part)
        assert "Warp" in called.why_not


def test_a_graph_that_cannot_be_made_is_done_without(monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(record, "_Graph", broken)
    called, found = calls(counting)
    assert called.why_not == "operation not permitted when stream is capturing"
    assert [x[0].item() for x in found] == [2.0 * k for k in range(1, len(found) + 1)]


class Data:
    """Computed when asked for, and once a state, as Isaac Lab's."""

    state = seen = -1

    def __init__(self):
        self.value = torch.zeros(4)

    @property
    def doubled(self):
        if self.seen != self.state:
            self.value.fill_(2.0 * self.state)
            self.seen = self.state
        return self.value


def test_quantities_of_the_scene_are_asked_for_before_the_graph_is_played(monkeypatch):
    class Replayed(FakeGraph):
        def __call__(self, *inputs):
            assert robot.data.seen == robot.data.state
            return super().__call__(*inputs)

    monkeypatch.setattr(record, "_Graph", Replayed)
    env, robot = Env(), type("Robot", (), {"data": Data()})()
    env.scene.articulations = {"robot": robot}
    called = record.Recorded(env, lambda: robot.data.doubled + 1.0)
    for state in range(record.LOOKS + 3):
        robot.data.state = state
        assert called()[0].item() == 2.0 * state + 1.0
    assert isinstance(called._graph, Replayed)
    assert type(robot.data) is Data


class Starting:
    """As much of an env as `EachRow` needs."""

    def __init__(self, device):
        self.recording, self.kept = False, {}
        self.draws, self.level = Draws(9, torch.device(device)), torch.linspace(0.0, 1.0, 9, device=device)

    def rows(self, env_ids):
        return env_ids.long()

    def once(self, constant, *args):
        return self.kept.setdefault((constant, *args), constant(self, *args))


def start(env, size):
    return env.draws.within("x", 2) * env.level[:, None] * size, direction(env.draws.uniform("angle"))


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def test_what_rows_begin_with_is_the_same_recorded(device, monkeypatch):
    if device == "cpu":
        monkeypatch.setattr("tasks.cuda.graph.Graph", Kept)
    env, made = Starting(device), Kept.made
    for step, rows in enumerate(([0, 1, 2, 3, 4, 5, 6, 7, 8], [3], [8, 0], [5, 6, 2, 1], [3, 4], [0, 8, 7])):
        env.recording = step > 1
        env.level += 1.0  # as a grade's parameters change
        begins = torch.zeros(9, dtype=torch.bool, device=device)
        begins[rows] = True
        env.draws.begin(begins)
        env_ids = torch.tensor(rows, device=device, dtype=torch.int32)
        found = record.starts(env, env_ids, start, 0.5)
        for one, all_rows in zip(found, start(env, 0.5), strict=True):
            assert torch.equal(one, all_rows[rows])
        assert Kept.made == made + (device == "cpu" and step > 1)


@pytest.mark.parametrize(
    ("device", "asked", "expected"),
    [
        ("cuda:0", True, ["prepared", "made", "recorded"]),
        ("cuda:0", False, ["made"]),  # as a loop that ours is measured against
        ("cpu", True, ["made"]),
    ],
)
def test_fusion_ends_before_an_env_that_is_recorded_is_made_and_nowhere_else(monkeypatch, device, asked, expected):
    done = []

    def make(spec, **where):
        done.append("made")
        return SimpleNamespace(record=lambda: done.append("recorded"))

    modules = {"tasks.cuda.record": record, "some.task": SimpleNamespace(make=make)}
    monkeypatch.setattr("tasks.core.build.import_module", modules.get)
    monkeypatch.setattr(record, "prepare", lambda: done.append("prepared"))
    replace(tasks.get("toy-reach"), make_env="some.task:make").build(4, device, "torch", asked)
    assert done == expected
