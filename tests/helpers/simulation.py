"""Run a piece of a test in a process of its own: a process can hold one simulation only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tasks.core.engines import PHYSX_THREADS

PARTS = ("_act", "_renew", "_last", "_look", "_env._judge", "_env._grade")
"""Attributes of a `LabEnv` that are recorded."""

PHYSX = {} if torch.cuda.is_available() else {PHYSX_THREADS: "0"}
"""Two tests at a time share two cores, and eight threads each that look for work would too."""

TIMEOUT_S = 550.0  # a little less than a test has, so that what the process said is shown
PROLOGUE = """
import json, torch
import tasks
torch.set_num_threads(1)
def report(**values): print("REPORT " + json.dumps(values), flush=True)
def build(task, engine, num_envs, difficulty):
    env = tasks.get(task).build(num_envs, "cpu", engine)
    levels = torch.as_tensor(difficulty).expand(num_envs)
    env.set_sampler(lambda env_ids: levels[env_ids.long()])
    return env
def owner(env, part):
    return (env._env, part.removeprefix("_env.")) if part.startswith("_env.") else (env, part)
def any_factors(env, levels):
    # Difficulties `levels` [N], and factors anywhere in their ranges of evaluation.
    low, high = torch.tensor([factor.evaluation for factor in env.spec.factors], device=env.device).unbind(dim=1)
    def sample(env_ids):
        return levels[env_ids.long()], low + (high - low) * torch.rand(len(env_ids), len(low), device=env.device)
    return sample
"""


def run(script: str, **environ: str) -> dict[str, Any]:
    """Run `script` after `PROLOGUE`, with more of an environment, and return what it passed to `report(...)`."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMNI_KIT_ACCEPT_EULA": "YES", "OMP_NUM_THREADS": "1"} | PHYSX | environ,
    )
    reports = [line.removeprefix("REPORT ") for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert reports, f"no report (exit {done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return {key: value for line in reports for key, value in json.loads(line).items()}
