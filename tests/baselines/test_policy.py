"""Policy files: what is saved acts the same when loaded, and what cannot be loaded is refused."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tasks
from baselines.actions import to_env
from baselines.data.normalizer import ObsNormalizer
from baselines.policy_file import PolicyError, export_reference, load_policy, save_policy

OBS = torch.randn(7, 6, generator=torch.Generator().manual_seed(0)) * 3


def actor() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(6, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 2)]


@pytest.mark.parametrize("squash", [False, True])
def test_a_loaded_actor_acts_as_the_saved_one(tmp_path, squash):
    layers, norm = actor(), ObsNormalizer(6)
    norm.update(OBS * 2 + 1)
    save_policy(tmp_path / "p.safetensors", layers, squash, norm, None)
    mean = nn.Sequential(*layers)(norm(OBS))
    expected = mean.tanh() if squash else mean.clamp(-1, 1)
    assert torch.equal(load_policy(tmp_path / "p.safetensors", "cpu")(OBS), expected)


def test_a_discrete_policy_takes_the_row_with_the_largest_value(tmp_path):
    table = torch.tensor([[0.0, 0.5], [1.0, -1.0]])
    layers = actor()
    save_policy(tmp_path / "p.safetensors", layers, False, None, table)
    expected = table[nn.Sequential(*layers)(OBS).argmax(1)]
    assert torch.equal(load_policy(tmp_path / "p.safetensors", "cpu")(OBS), expected)


def test_the_same_policy_gives_the_same_bytes(tmp_path):
    hashes = set()
    for name in "ab":
        save_policy(tmp_path / name, actor(), False, None, None)
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_reference_policies(tmp_path):
    spec = tasks.get("toy-reach")
    export_reference("zero", spec, tmp_path / "zero")
    export_reference("random", spec, tmp_path / "random")
    assert torch.equal(load_policy(tmp_path / "zero", "cpu")(OBS), torch.zeros(7, 2))
    one, two = load_policy(tmp_path / "random", "cpu"), load_policy(tmp_path / "random", "cpu")
    draws = torch.stack([one(OBS) for _ in range(200)])
    assert torch.equal(draws, torch.stack([two(OBS) for _ in range(200)]))
    assert draws.abs().max() <= 1
    assert draws.std() == pytest.approx(3**-0.5, abs=0.02)
    with pytest.raises(ValueError, match="valid: random, zero"):
        export_reference("best", spec, tmp_path / "best")


LINEAR = {"net.0.weight": torch.zeros(2, 6), "net.0.bias": torch.zeros(2)}
ACTOR = {"kind": "mlp", "layers": [["linear", 6, 2]], "squash": "clip"}
CHOOSER = {"kind": "discrete", "layers": [["linear", 6, 2]]}


def table(actions):
    return LINEAR | {"actions": actions}


def write_text(path, header, tensors=LINEAR):
    save_file(tensors, path, {"gradus": header})


def write(path, tensors, **header):
    write_text(path, json.dumps({"format": 1, **header}), tensors)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "not a policy file"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not a policy file"),
        (lambda path: save_file({}, path), "not a policy file"),
        (lambda path: write(path, {}, kind="mlp", format=2), "reads format 1"),
        (lambda path: write(path, {}, kind="oracle"), "'mlp', 'discrete'"),
        (lambda path: write(path, {"net.0.weight": torch.ones(2, 6)}, **ACTOR), "net.0.bias is missing"),
        (lambda path: write(path, LINEAR | {"net.0.weight": torch.full((2, 6), float("nan"))}, **ACTOR), "NaN"),
        (lambda path: write(path, LINEAR | {"net.0.weight": torch.ones(2, 6).to(torch.bfloat16)}, **ACTOR), "kind"),
        (lambda path: write(path, LINEAR | {"net.0.weight": torch.ones(2, 6).half()}, **ACTOR), "float16"),
        (lambda path: write(path, LINEAR, **ACTOR | {"layers": [["convolution", 6, 2]]}), "layer 0 is none"),
        (lambda path: write(path, {}, **ACTOR | {"layers": [["tanh"]]}), "has to be linear"),
        (lambda path: write(path, {}, **ACTOR | {"layers": [["linear", 3, 10**12]]}), "layer 0 is none"),
        (lambda path: write(path, LINEAR, **ACTOR | {"layers": [["linear", 6.0, 2]]}), "layer 0 is none"),
        (lambda path: write(path, LINEAR, **ACTOR | {"format": True}), "reads format 1"),
        (lambda path: write(path, LINEAR, **ACTOR | {"obs_dim": 6.0}), "obs_dim"),
        (lambda path: write(path, LINEAR, **ACTOR | {"squash": None}), "tanh or clip"),
        (lambda path: write(path, {}, kind="zero"), "obs_dim: Field required"),
        (lambda path: write(path, {}, kind="random", obs_dim=6, action_dim=2), "needs a seed"),
        (lambda path: write_text(path, "[1]"), "an object"),
        (lambda path: write_text(path, "[" * 100_000), "recursion limit"),
        (lambda path: write(path, table(torch.tensor([[20.0, 0], [-20, 0]])), **CHOOSER), "leaves the action space"),
        (lambda path: write(path, table(torch.zeros(2, 2).double()), **CHOOSER), "actions is float64"),
        (lambda path: write(path, table(torch.zeros(3, 2)), **CHOOSER), "actions has the shape"),
        (lambda path: write(path, table(torch.tensor(0.0)), **CHOOSER), "actions has the shape"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path, spoil, reason):
    path = tmp_path / "p.safetensors"
    save_policy(path, actor(), False, None, None)
    spoil(path)
    with pytest.raises(PolicyError, match=reason) as error:
        load_policy(path, "cpu")
    assert "\n" not in str(error.value)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    path = tmp_path / "p.safetensors"
    for layers, table in (
        ([nn.Linear(6, 2), nn.Linear(3, 2)], None),
        ([nn.Tanh(), nn.Linear(6, 2)], None),
        ([nn.Linear(6, 2)], torch.tensor([[2.0], [0.0]])),
        ([nn.Linear(6, 2)], torch.zeros(3, 1)),
    ):
        with pytest.raises(PolicyError):
            save_policy(path, layers, False, None, table)
    for layer in (nn.LayerNorm(2, eps=1e-3), nn.ELU(alpha=0.5), nn.Dropout(), nn.LayerNorm((2, 2))):
        with pytest.raises(TypeError, match="no policy file can hold"):
            save_policy(path, [nn.Linear(6, 2), layer], False, None, None)
    assert not list(tmp_path.iterdir())


def test_layers_without_a_bias_act_as_they_did(tmp_path):
    torch.manual_seed(0)
    layers = [
        nn.Linear(6, 8, bias=False),
        nn.LayerNorm(8, bias=False),
        nn.LayerNorm(8, elementwise_affine=False),
        nn.Linear(8, 2, bias=False).double(),
    ]
    save_policy(tmp_path / "p.safetensors", layers, False, None, None)
    expected = nn.Sequential(*layers).float()(OBS).clamp(-1, 1)
    torch.testing.assert_close(load_policy(tmp_path / "p.safetensors", "cpu")(OBS), expected)


def test_a_table_in_double_precision_is_saved_as_what_the_env_takes(tmp_path):
    save_policy(tmp_path / "p.safetensors", actor(), False, None, torch.zeros(2, 2).double())
    assert load_policy(tmp_path / "p.safetensors", "cpu")(OBS).dtype == torch.float32


def test_no_choice_leaves_the_action_space():
    chosen = to_env(torch.tensor([0, 1]), torch.tensor([[20.0, -20.0], [0.5, -0.25]]))
    assert torch.equal(chosen, torch.tensor([[1.0, -1.0], [0.5, -0.25]]))


def test_a_saved_policy_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("synced"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("named"), replace(*names)))
    save_policy(tmp_path / "p.safetensors", actor(), False, None, None)
    assert done == ["synced", "named"]


def test_a_policy_for_another_observation_is_refused(tmp_path):
    save_policy(tmp_path / "p.safetensors", actor(), False, None, None, obs_dim=9)
    act = load_policy(tmp_path / "p.safetensors", "cpu")
    assert torch.equal(act(torch.cat((OBS, OBS[:, :3]), 1)), act(torch.cat((OBS, 0 * OBS[:, :3]), 1)))
    with pytest.raises(PolicyError, match="for 9 observations, not 6"):
        act(OBS)
