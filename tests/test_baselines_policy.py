"""Policy files: what is saved acts the same when loaded, and what cannot be loaded is refused."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tasks
from baselines.normalizer import ObsNormalizer
from baselines.policy import PolicyError, export_reference, load_policy, save_policy

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


def write(path, tensors, **header):
    save_file(tensors, path, {"gradus": json.dumps({"format": 1, **header})})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "not a policy file"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not a policy file"),
        (lambda path: save_file({}, path), "not a policy file"),
        (lambda path: write(path, {}, kind="mlp", format=2), "reads format 1"),
        (lambda path: write(path, {}, kind="oracle"), "valid: mlp"),
        (lambda path: write(path, {"net.0.weight": torch.ones(2, 6)}, kind="mlp", layers=[["linear", 6, 2]]), "fit"),
        (lambda path: write(path, {"net.0.weight": torch.full((2, 6), float("nan"))}, kind="mlp"), "NaN"),
        (lambda path: write(path, {}, kind="mlp", layers=[["convolution", 6, 2]]), "fit"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path, spoil, reason):
    path = tmp_path / "p.safetensors"
    save_policy(path, actor(), False, None, None)
    spoil(path)
    with pytest.raises(PolicyError, match=reason):
        load_policy(path, "cpu")


def test_a_policy_for_another_observation_is_refused(tmp_path):
    save_policy(tmp_path / "p.safetensors", actor(), False, None, None, obs_dim=9)
    act = load_policy(tmp_path / "p.safetensors", "cpu")
    assert torch.equal(act(torch.cat((OBS, OBS[:, :3]), 1)), act(torch.cat((OBS, 0 * OBS[:, :3]), 1)))
    with pytest.raises(PolicyError, match="for 9 observations, not 6"):
        act(OBS)
