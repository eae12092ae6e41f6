"""Real run directories of the toy task without a training: the suite's worker evaluates a policy that is given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from baselines.policy import save_policy
from suite import cli, config
from suite.matrix import plan


def pd_controller(path: Path, gain: float) -> None:
    """A policy that steers to the goal like a spring with damping; a small `gain` arrives late."""
    layer = nn.Linear(6, 2)  # position, velocity, goal minus position
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.zeros(2, 2), -(gain**0.5) * torch.eye(2), gain * torch.eye(2)], dim=1))
        layer.bias.zero_()
    save_policy(path, [layer], squash=False, norm=None, table=None)


def write_runs(out: Path, gains: tuple[float, ...], *options: str) -> list[Path]:
    """Run directories of seeds 0 to len(gains)-1, called PPO, each with a controller of its gain."""
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    jobs = plan(cli.parse([*argv, "--seeds", str(len(gains)), "--out", str(out), *options])[0])
    workers = []
    for job, gain in zip(jobs, gains, strict=True):
        job.run.path.mkdir(parents=True)
        config.save(job.config("cpu"), job.run)
        pd_controller(job.run.policy, gain)
        workers.append(subprocess.Popen([sys.executable, "-m", "suite.worker", str(job.run.path)]))
    assert [worker.wait(300) for worker in workers] == [0] * len(workers)
    return [job.run.path for job in jobs]
