"""A training on real physics that is killed and started again ends as one that was not, on the CPU."""

import pyarrow.parquet as pq
import pytest

from suite.cli import arguments as cli
from suite.execute import process
from suite.plan import config
from suite.plan.matrix import plan
from suite.runs.rundir import sha256

pytestmark = pytest.mark.sim

SMALL = ["train.num_envs=32", "agent.horizon=16", "train.env_steps=49152", "train.checkpoints=8"]


def new_run(out):
    arguments = ["--task", "cartpole-balance", "--algo", "ppo", "--budget", "smoke", "--physics", "ovphysx"]
    arguments += ["--device", "cpu", "--wandb", "disabled", "--out", str(out), *SMALL]
    (job,) = plan(cli.parse(arguments)[0])
    job.run.path.mkdir(parents=True)
    config.save(job.config("cpu"), job.run)
    return job.run


def train(run, interrupt=False):
    """Train until the end, or to a SIGKILL soon after the first checkpoint."""
    with process.Child(["suite.runs.training", str(run.path)], run.log) as child:
        for _ in child:
            if interrupt and (run.checkpoint / "last.ckpt").exists():
                return


def test_killed_and_resumed_is_the_same_policy(tmp_path):
    whole, broken = new_run(tmp_path / "whole"), new_run(tmp_path / "broken")
    train(whole)
    train(broken, interrupt=True)
    assert not broken.policy.exists()
    train(broken)
    assert "continuing from the checkpoint at" in broken.log.read_text()
    assert sha256(broken.policy) == sha256(whole.policy)
    steps = [pq.read_table(run.progress).column("env_steps").to_pylist() for run in (whole, broken)]
    assert steps[0] == steps[1]
