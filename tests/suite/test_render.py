"""Pictures and films of a task, and what `suite.render` refuses before it starts a simulator."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from imageio_ffmpeg import read_frames
from PIL import Image

import tasks
from baselines.policy_file import export_reference, save_policy
from suite import render
from suite.errors import UserError, exit_code
from suite.runs import policies

ROOT = Path(__file__).parents[2]


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """What a command line is refused with; it fails if the simulator would start."""
    monkeypatch.setattr("tasks.spec.TaskSpec.build", lambda *args: pytest.fail("a simulator was started"))
    monkeypatch.chdir(tmp_path)

    def refused(*argv):
        assert exit_code("suite.render", lambda: render.main([*argv, "--device", "cpu"])) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert not list(tmp_path.glob("*.png"))
        return lines[0]

    return refused


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--task", "cartpole"], "unknown task 'cartpole'; nearest: 'cartpole-balance'"),
        (["--task", "toy-reach"], "unknown task 'toy-reach'"),  # it has nothing to show
        (["--task", "ant-run,toy-reach"], "unknown task 'ant-run,toy-reach'"),
        (["--task", "ant-run", "--grade", "g9"], "unknown grade 'g9'"),
        (["--task", "ant-run", "--physics", "bullet"], "unknown engine 'bullet'"),
        (["--task", "ant-run", "--out", "ant.gif"], "ends in .png (a picture) or .mp4 (a film)"),
        (["--task", "ant-run", "--size", "640"], "expected WxH"),
        (["--task", "ant-run", "--size", "641x480"], "even numbers"),
        (["--task", "ant-run", "--seconds", "-1"], "--seconds must be between 0 and 3600"),
        (["--task", "ant-run", "--seconds", "nan"], "--seconds must be between"),
        (["--task", "ant-run", "--seconds", "0", "--out", "ant.mp4"], "--seconds must be between 0.0"),
        (["--task", "ant-run", "--seed", "-1"], "--seed must be 0 or more"),
        (["--task", "ant-run", "--policy", "noughts"], "no such file; expected random, zero, a policy.safetensors"),
        (["--task", "ant-run", "--policy", "."], "is not a run directory"),
    ],
)
def test_mistakes_are_one_line(said, argv, reason):
    assert reason in said(*argv)


def test_policy_that_does_not_fit_the_task_is_refused(said, tmp_path):
    other = tmp_path / "other.safetensors"
    export_reference("zero", tasks.get("ant-run"), other)
    assert "it has 36 observations, cartpole-balance has 5" in said(
        "--task", "cartpole-balance", "--policy", str(other)
    )
    save_policy(other, [torch.nn.Linear(7, 1)], squash=True, norm=None, table=None)
    assert "the policy is of another task" in said("--task", "cartpole-balance", "--policy", str(other))
    other.write_bytes(b"no policy")
    assert "is not a policy file" in said("--task", "cartpole-balance", "--policy", str(other))


def test_help_is_no_failure():
    done = subprocess.run([sys.executable, "-m", "suite.render", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--policy POLICY" in done.stdout


@pytest.mark.sim
def test_picture_and_film(tmp_path):
    start, policy = tmp_path / "start.png", tmp_path / "policy.safetensors"
    save_policy(policy, [torch.nn.Linear(5, 1)], squash=True, norm=None, table=None)
    options = ["--task", "cartpole-balance", "--grade", "g1", "--device", "cpu", "--size", "128x96"]
    _run(*options, "--out", str(start))
    film = tmp_path / "film.mp4"
    _run(*options, "--out", str(film), "--policy", str(policy), "--seconds", "0.5", "--physics", "newton_mjwarp")
    with Image.open(start) as image:
        assert image.size == (128, 96)
        assert np.asarray(image.convert("RGB")).std() > 5
    frames = read_frames(str(film))
    assert next(frames)["size"] == (128, 96)
    frames = [np.frombuffer(frame, np.uint8) for frame in frames]
    assert len(frames) == 15
    assert frames[0].std() > 5
    assert (frames[0] != frames[-1]).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "policy.safetensors", "start.png"]


def _run(*argv):
    done = subprocess.run([sys.executable, "-m", "suite.render", *argv], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == argv[argv.index("--out") + 1] + "\n"


def test_a_published_seed_without_its_policy_names_those_that_have_one(tmp_path):
    for seed in range(3):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        (folder / "result.json").write_text("{}")
    (tmp_path / "seed2" / "policy.safetensors").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies.configs, "load", lambda _: SimpleNamespace(task="cartpole-balance"))
        with pytest.raises(UserError, match="a published copy without its policy; seeds that have one: seed2"):
            policies.file_of(str(tmp_path / "seed0"), tasks.get("cartpole-balance"))


def test_what_takes_long_is_said(capsys, monkeypatch):
    for live, expected in ((False, "ant-run: starting ovphysx\n"), (True, "\rant-run: step 2 of 9")):
        monkeypatch.setattr(render.sys.stderr, "isatty", lambda live=live: live)
        progress = render.Progress("ant-run", "ovphysx")
        progress(2, 9)
        progress.end()
        printed = capsys.readouterr()
        assert expected in printed.err
        assert printed.out == ""
        assert ("step" in printed.err) == live
