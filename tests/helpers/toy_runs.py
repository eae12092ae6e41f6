"""Real run directories of the toy task without a training: the suite's worker evaluates a policy that is given."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from baselines.policy_file import save_policy
from suite.cli import arguments
from suite.plan import config
from suite.plan.matrix import plan
from suite.runs.evaluation import summary


def pd_controller(path: Path, gain: float) -> None:
    """A policy that steers to the goal like a spring with damping; a small `gain` arrives late."""
    layer = nn.Linear(6, 2)  # position, velocity, goal minus position
    with torch.no_grad():
        layer.weight.copy_(torch.cat([torch.zeros(2, 2), -(gain**0.5) * torch.eye(2), gain * torch.eye(2)], dim=1))
        layer.bias.zero_()
    save_policy(path, [layer], squash=False, norm=None, table=None)


@cache
def spring_run() -> Path:
    """A run directory called PPO whose policy is a spring that is too slow for the last grades; not to be changed."""
    out = Path(tempfile.mkdtemp(prefix="gradus-toy-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", "smoke", "--device", "cpu", "--wandb", "disabled"]
    (job,) = plan(arguments.parse([*argv, "--out", str(out)])[0])
    job.run.path.mkdir(parents=True)
    config.save(job.config("cpu"), job.run)
    pd_controller(job.run.policy, 1.0)
    subprocess.run([sys.executable, "-m", "suite.runs.worker", str(job.run.path)], check=True, timeout=300)
    return job.run.path


def copy_run(out: Path) -> Path:
    """A copy of `spring_run()` below `out`."""
    folder = out.joinpath(*spring_run().parts[-5:])
    shutil.copytree(spring_run(), folder)
    return folder


def rehash(folder: Path, **fields: object) -> None:
    """Make result.json agree with what now lies in `folder`, and change `fields` of it."""
    result = json.loads((folder / "result.json").read_text()) | fields
    rows = pq.read_table(folder / "episodes.parquet").to_pylist()
    result |= summary([row | {"violations": {}} for row in rows])
    for name, file in (("episodes_sha256", "episodes.parquet"), ("policy_sha256", "policy.safetensors")):
        result[name] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / "result.json").write_text(json.dumps(result))


def edit_episodes(folder: Path, edit: Callable[[list[dict]], object]) -> None:
    """Change the rows of episodes.parquet, as a forger would."""
    file = folder / "episodes.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


def win(rows: list[dict], grade: str = "g5") -> None:
    """Claim success in every episode of a grade."""
    for row in rows:
        if row["grade"] == grade:
            row.update(success_once=True, success_at_end=True, success=True)
