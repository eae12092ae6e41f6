"""Policies that a command line names: found, read, and tried on their task."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import baselines
from baselines.policy_header import PolicyError, check_fits, read
from suite.errors import UserError, first_line
from suite.plan import config as configs
from suite.plan.paths import as_path
from suite.runs.rundir import RunDir
from tasks.spec import TaskSpec

if TYPE_CHECKING:
    from baselines.policy_file import Policy


def file_of(policy: str, spec: TaskSpec) -> Path | None:
    """The file of a policy, None for a reference policy. Raises `UserError` for anything else."""
    if policy in baselines.reference_names():
        return None
    try:
        path = as_path(policy)
    except ValueError as error:
        raise UserError(f"--policy: {error}") from None
    if path.is_dir():
        run = RunDir(path)
        if (task := configs.load(run).task) != spec.name:
            raise UserError(f"--policy {path} is a run of {task}, not of {spec.name}")
        path = run.policy
        if not path.is_file():
            kept = ", ".join(sorted(file.parent.name for file in run.path.parent.glob(f"seed*/{path.name}"))) or "none"
            if run.result.is_file():  # as leaderboard.publish copies it
                raise UserError(f"{run.path} is a published copy without its policy; seeds that have one: {kept}")
            raise UserError(f"{run.path} has no policy yet: its training has not ended")
    if not path.is_file():
        names = ", ".join(baselines.reference_names())
        raise UserError(f"--policy {policy}: no such file; expected {names}, a policy.safetensors or a run directory")
    return path


def check(path: Path, spec: TaskSpec) -> None:
    """Raise `UserError` unless `path` has a policy that fits the task. Imports no torch."""
    try:
        header, tensors = read(path)
        check_fits(header, tensors.get("actions"), spec)
    except PolicyError as error:
        told = first_line(error)
        raise UserError(told if str(path) in told else f"{path}: {told}") from None


def load(policy: str | Path, spec: TaskSpec, device: str) -> Policy:
    """A reference policy (name) or a file, tried on an observation of the task.

    Raises:
        UserError: if it cannot be read, or does not fit.
    """
    import torch

    from baselines.policy_file import export_reference, load_policy

    with tempfile.TemporaryDirectory() as scratch:
        if isinstance(policy, str):
            name, policy = policy, Path(scratch) / "policy.safetensors"
            export_reference(name, spec, policy)
        check(policy, spec)
        loaded = load_policy(policy, device)
    with torch.no_grad():
        action = loaded(torch.zeros(1, spec.obs_dim, device=device))
    if action.dtype != torch.float32:
        raise UserError(f"{policy} acts in {action.dtype}; expected float32")
    return loaded
