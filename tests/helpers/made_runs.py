"""Complete runs of a policy that other code trained, made up in milliseconds: to be changed as a forger would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from omegaconf import OmegaConf
from safetensors.numpy import save

import suite
import tasks
from leaderboard.submissions import bundle
from suite import protocol
from suite.plan import config as configs
from suite.runs import evaluation
from suite.runs.rundir import sha256, write_json

TEXTS = {"title": "Made up", "submitter": "me", "contact": "me@example.org", "description": ""}
ENV_STEPS = 1000


def make_run(
    out: Path,
    *,
    task: str = "toy-reach",
    engine: str = "torch",
    algo: str = "mine",
    seed: int = 0,
    config: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
) -> Path:
    """Write a run below `out` and return its folder; `config` and `result` are put over what their files would say.

    Its policy and its episodes are drawn from the seed. On `cartpole-balance` it has an evaluation on the other engine.
    """
    spec, rng = tasks.get(task), np.random.default_rng(seed)
    folder = out / suite.__version__ / task / algo / f"none-r0-{engine}-smoke" / f"seed{seed}"
    folder.mkdir(parents=True)
    where = {"algo": algo, "seed": seed, "randomization": "r0", "train": {"env_steps": ENV_STEPS}}
    where |= {"engine": engine, "physics": engine, "device": "cpu", "wandb": "disabled", "command": "made up"}
    content = OmegaConf.to_container(OmegaConf.merge(configs.defaults(spec, "zero", "smoke"), where), resolve=True)
    write_yaml(folder / "config.yaml", content | (config or {}))
    weights = {"net.0.weight": rng.normal(size=(spec.action_dim, spec.policy_dim)).astype(np.float32)}
    weights["net.0.bias"] = np.zeros(spec.action_dim, np.float32)
    header = {"format": 1, "kind": "mlp", "layers": [["linear", spec.policy_dim, spec.action_dim]], "squash": "clip"}
    (folder / "policy.safetensors").write_bytes(save(weights, {"gradus": json.dumps(header)}))
    progress = {"env_steps": [ENV_STEPS], "wall_time_s": [0.0], "episodes": [0.0], "success_mean": [float("nan")]}
    pq.write_table(pa.table(progress), folder / "progress.parquet")
    provenance = {
        **{"suite_version": suite.__version__, "command": "made up", "started": "2026-11-20T10:00:00+00:00"},
        **{"ended": "2026-11-20T11:00:00+00:00", "packages": {"numpy": "2.3.1"}, "git": None, "python": "3.12.1"},
        **{"os": "Debian", "kernel": "6.1.0", "cpu": "Example", "cpu_features": "0" * 16, "cores": 2, "gpus": []},
        **{"nvidia_driver": None, "environment": {"OMP_NUM_THREADS": "1"}, "assets": {}},
    }
    write_json(folder / "provenance.json", provenance)
    common = {"suite_version": suite.__version__, "task": task, "algo": algo, "seed": seed}
    common |= {"policy_sha256": sha256(folder / "policy.safetensors"), "engine": engine}
    numbers = protocol.Protocol(task, engine, "cpu", **vars(configs.evaluation("nominal")))
    rows, digest = _episodes(folder, rng, numbers, algo)
    found = {
        "schema": 1,
        **common,
        **{"curriculum": "none", "randomization": "r0", "budget": "smoke", "overrides": {}, "env_steps": ENV_STEPS},
        **{"wall_time_s": 10.0, "energy_j": None, "evaluation_time_s": 1.0, "device": "Example", "command": "made up"},
        **{"num_envs": 1, "failures": [], "protocol": protocol.identity(spec, numbers)},
        **evaluation.summary(rows),
        **{"episodes_sha256": digest, "progress_sha256": sha256(folder / "progress.parquet"), "provenance": provenance},
    }
    write_json(folder / "result.json", found | (result or {}))
    for other in {"ovphysx", "newton_mjwarp"} - {engine} if task == "cartpole-balance" else ():
        further = folder / "evaluations" / other
        further.mkdir(parents=True)
        settings = protocol.Protocol(task, other, "cpu", **vars(configs.evaluation("nominal")))
        rows, digest = _episodes(further, rng, settings, algo)
        record = {"schema": 1, **common, "engine": other, "trained_on": engine, "settings": vars(settings)}
        record |= {"protocol": protocol.identity(spec, settings), **evaluation.summary(rows), "evaluation_time_s": 1.0}
        record |= {"episodes_sha256": digest, "command": "made up", "provenance": provenance}
        write_json(further / "evaluation.json", record)
    return folder


def _episodes(folder: Path, rng: np.random.Generator, numbers: protocol.Protocol, algo: str) -> tuple[list, str]:
    rows = evaluation._fill(numbers, [])
    for row in rows:
        success = bool(rng.random() < 0.5)
        row |= {"return": float(rng.normal()), "length": 50, "termination": "time_out"}
        row |= {"success_once": success, "success_at_end": success, "success": success}
    return rows, evaluation.write(folder / "episodes.parquet", rows, numbers, algo)


def write_yaml(file: Path, content: object) -> None:
    """Write a config.yaml."""
    file.write_text(yaml.safe_dump(content))


def edit_json(file: Path, **fields: Any) -> None:
    """Put `fields` over what a JSON file says."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def place(folder: Path) -> str:
    """The run's path in a bundle."""
    return "/".join(("runs", *folder.parts[-5:]))


def pack(out: Path, *runs: Path, division: str = "open") -> Path:
    """Write the bundle of `runs` to `out`."""
    out.unlink(missing_ok=True)
    bundle.write(out, TEXTS, division, {place(folder): folder for folder in runs})
    return out
