"""Run directories as `suite` writes them, made up: for tests of the leaderboard, and to look at its page."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import suite
from suite.runs.rundir import sha256

GRADES = ("g1", "g2", "g3", "g4", "g5")
ENV_STEPS = {"smoke": 100_000, "quick": 1_000_000, "full": 10_000_000}
MAX_STEPS = 250
REFERENCE = "g3"
TABLES = ("episodes", "progress", "curriculum", "curve")
FACTORS = {  # category, values at the five magnitudes, and the log-odds that the last one costs
    "mass": ("physical", (0.5, 0.8, 1.2, 1.6, 2.0), 2.0),
    "friction": ("physical", (0.2, 0.4, 0.6, 0.9, 1.2), 0.8),
    "joint_damping": ("dynamics", (0.5, 0.75, 1.0, 1.5, 2.0), 0.6),
    "action_delay": ("dynamics", (0.0, 1.0, 2.0, 3.0, 4.0), 3.5),
    "position_noise": ("sensor", (0.0, 0.01, 0.02, 0.03, 0.04), 1.0),
    "push": ("disturbance", (0.0, 0.4, 0.8, 1.2, 1.6), 1.5),
}
PROVENANCE = {
    "suite_version": suite.__version__,
    "packages": {"isaaclab": "3.0.0", "ovphysx": "0.4.1", "torch": "2.11.0", "tianshou": "2.0.1", "numpy": "2.3.1"},
    "git": {"commit": "5d1c0ffee5d1c0ffee5d1c0ffee5d1c0ffee5d1c", "dirty": False},
    "python": "3.12.1",
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0",
    "cpu": "Example CPU",
    "cores": 2,
    "gpus": [],
    "nvidia_driver": None,
    "environment": {"OMP_NUM_THREADS": "1"},
    "assets": {"panda": "9f" * 32},
}


def write_run(
    out: Path,
    task: str = "cartpole-balance",
    algo: str = "ppo",
    seed: int = 0,
    *,
    skill: float = 2.0,
    curriculum: str = "none",
    randomization: str = "r0",
    engine: str = "ovphysx",
    budget: str = "smoke",
    overrides: dict | None = None,
    trained: bool = True,
    episodes: int = 64,
    engines: tuple[str, ...] = (),
    perturbed: bool = False,
    curve: bool = False,
    energy_j: float | None = None,
    provenance: dict | None = None,
) -> Path:
    """Write one run directory. `skill` is the log-odds of success at g1; each grade costs one.

    `perturbed` adds the cells of a robustness protocol, `curve` the curve by grade. Returns the run's path.
    """
    overrides = overrides or {}
    name = f"{curriculum}-{randomization}-{engine}-{budget}"
    if overrides:
        name += f"-{hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:8]}"
    folder = out / suite.__version__ / task / algo / name / f"seed{seed}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, *f"{task}/{algo}/{name}".encode()])
    skill = skill + rng.normal(0, 0.5)
    env_steps = ENV_STEPS[budget] if trained else 0
    started, ended = f"2026-11-20T10:{seed:02d}:00+00:00", f"2026-11-20T11:{seed:02d}:30+00:00"
    common = {"task": task, "algo": algo, "seed": seed}
    elsewhere = []
    rows = _write_episodes(folder, rng, skill, episodes, engine, common, perturbed)
    for i, other in enumerate(engines):
        further = folder / "evaluations" / other
        further.mkdir(parents=True)
        elsewhere.append(
            (further, other, _write_episodes(further, rng, skill - 0.4 * (i + 1), episodes, other, common))
        )
    if trained:
        _write_progress(folder, rng, skill, env_steps)
    if curve:
        _write_curve(folder, skill, env_steps)
    (folder / "policy.safetensors").write_bytes(rng.bytes(256))
    command = f"python -m suite.run --task {task} --algo {algo} --seeds {seed + 1} --budget {budget} --physics {engine}"
    whole = {**PROVENANCE, "command": command, "started": started, "ended": ended, **(provenance or {})}
    (folder / "config.yaml").write_text(
        f"task: {task}\nalgo: {algo}\nseed: {seed}\ntrain:\n  num_envs: 256\n  learning_rate: 0.0003\n  gamma: 0.99\n"
    )
    (folder / "provenance.json").write_text(json.dumps(whole))
    write_status(folder, "complete", env_steps, env_steps)
    result = {
        "schema": 1,
        "suite_version": suite.__version__,
        **common,
        "curriculum": curriculum,
        "randomization": randomization,
        "engine": engine,
        "budget": budget,
        "overrides": overrides,
        "env_steps": env_steps,
        "wall_time_s": env_steps / 2500.0,
        "energy_j": energy_j,
        "evaluation_time_s": 12.5,
        "device": "Example CPU",
        **_outcome(rows),
        "policy_sha256": sha256(folder / "policy.safetensors"),
        **hashes(folder),
        "command": command,
        "provenance": whole,
    }
    for further, other, its_rows in elsewhere:
        evaluation = {
            **{key: result[key] for key in ("schema", "suite_version", "task", "algo", "seed", "policy_sha256")},
            "engine": other,
            "trained_on": engine,
            **_outcome(its_rows),
            **hashes(further),
            "evaluation_time_s": 14.0,
            "command": f"python -m suite.evaluate runs/.../seed{seed} --physics {other}",
            "provenance": whole,
        }
        (further / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def _outcome(rows: list[dict]) -> dict:
    nominal = [row for row in rows if row.get("cell", "nominal/").startswith("nominal/")]
    by_grade = {g: [row for row in nominal if row["grade"] == g] for g in GRADES}
    return {
        "success": {g: float(np.mean([row["success"] for row in by_grade[g]])) for g in GRADES},
        "episodes": {g: len(by_grade[g]) for g in GRADES},
        "return": {g: float(np.mean([row["return"] for row in by_grade[g]])) for g in GRADES},
    }


def hashes(folder: Path) -> dict[str, str]:
    """What result.json or evaluation.json says of the tables that the leaderboard reads."""
    return {f"{name}_sha256": sha256(file) for name in TABLES if (file := folder / f"{name}.parquet").exists()}


def rehash(folder: Path) -> None:
    """Make result.json name the tables that lie in `folder` now."""
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | hashes(folder)))


def write_status(folder: Path, state: str, env_steps: int, total: int, message: str = "") -> None:
    """Write the status.json of a run in `state`."""
    status = {
        "state": state,
        "env_steps": env_steps,
        "total_env_steps": total,
        "steps_per_s": 2500.0,
        "message": message,
    }
    (folder / "status.json").write_text(json.dumps(status))


def write_unfinished(out: Path, state: str = "training", message: str = "") -> Path:
    """Write the directory of a run that was killed in `state`, or failed with `message`."""
    folder = out / suite.__version__ / "franka-reach" / "ppo" / "none-r0-ovphysx-smoke" / "seed9"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("task: franka-reach\n")
    write_status(folder, state, 40_000, 100_000, message)
    return folder


def write_board(out: Path) -> None:
    """Write runs that show every part of the page: ranked, unranked, reference, two budgets, two engines, skipped."""
    for task, ease in (("cartpole-balance", 1.5), ("franka-reach", 0.0), ("go2-velocity", -0.8)):
        for algo, skill, seeds in (("ppo", 3.0, 5), ("sac", 2.6, 5), ("td3", 1.8, 5), ("redq", 2.2, 3)):
            for seed in range(seeds):
                engines = ("newton_mjwarp",) if algo in ("ppo", "sac") else ()
                write_run(
                    out, task, algo, seed, skill=skill + ease, budget="full", engines=engines, perturbed=algo != "redq"
                )
        write_run(out, task, "random", skill=-2.5, budget="full", trained=False)
        write_run(out, task, "zero", skill=-4.0 + ease, budget="full", trained=False)
        for seed in range(5):
            for curriculum, gain in (("none", 0.0), ("uniform", 0.3), ("staged", 1.2), ("alp_gmm", 0.9)):
                write_run(
                    out, task, "ppo", seed, skill=1 + ease + gain, budget="smoke", curriculum=curriculum, curve=True
                )
    for seed in range(2):
        overrides = {"algorithm.gae_lambda": 0.9, "train.num_envs": 1024}
        write_run(out, "cartpole-balance", "ppo", seed, skill=3.5, budget="smoke", overrides=overrides)
        write_run(
            out, "cartpole-balance", "a2c", seed, skill=2.0, budget="smoke", curriculum="alp_gmm", randomization="r2"
        )
    write_unfinished(out, "failed", "observation became NaN in env 17 at step 40,960")
    broken = write_run(out, "franka-reach", "ddpg", budget="full")
    (broken / "result.json").write_text('{"schema": 1, "suite_ver')


def _write_episodes(
    folder: Path, rng: np.random.Generator, skill: float, n: int, engine: str, common: dict, perturbed: bool = False
) -> list:
    rows = []
    for i, grade in enumerate(GRADES):
        rows += _cell(rng, skill - i, n, {**common, "grade": grade, "difficulty": i / 4, "engine": engine})
    if perturbed:
        rows = [row | _perturbation(rng, f"nominal/{row['grade']}", {}, 0.0) for row in rows]
        at = {**common, "grade": REFERENCE, "difficulty": 0.5, "engine": engine}
        for cell, values, cost in _perturbed_cells():
            episodes = _cell(rng, skill - 2 - cost, n // 2, at)
            rows += [row | _perturbation(rng, cell, values, cost) for row in episodes]
    pq.write_table(pa.Table.from_pylist(rows), folder / "episodes.parquet")
    return rows


def _perturbed_cells() -> list[tuple[str, dict[str, float], float]]:
    """Name, factors that are not nominal, and log-odds of success that it costs, of every cell but the nominal ones."""
    cells = []
    for name, (_, values, cost) in FACTORS.items():
        cells += [(f"factor/{name}/{m}", {name: v}, cost * abs(m - 1) / 3) for m, v in enumerate(values)]
    for category in dict.fromkeys(c for c, _, _ in FACTORS.values()):
        moved = {name: values[3] for name, (c, values, _) in FACTORS.items() if c == category}
        cells.append((f"category/{category}", moved, 1.0))
    cells.append(("all/mixed", {name: values[3] for name, (_, values, _) in FACTORS.items()}, 2.5))
    cells.append(("held_out/mixed", {"push": FACTORS["push"][1][3]}, 1.5))
    return cells


def _perturbation(rng: np.random.Generator, cell: str, values: dict[str, float], cost: float) -> dict:
    factors = {f"factor.{name}": values.get(name, FACTORS[name][1][1]) for name in FACTORS}
    return {"cell": cell, **factors, "violation.joint_speed": int(rng.poisson(0.3 + cost))}


def _cell(rng: np.random.Generator, log_odds: float, n: int, common: dict) -> list:
    probability = 1 / (1 + math.exp(-log_odds))
    rows = []
    for episode in range(n):
        success = bool(rng.random() < probability)
        rows.append(
            {
                **common,
                "seed": 1000,
                "env": episode % 32,
                "episode": episode // 32,
                "return": float(rng.normal(200 if success else 60, 15)),
                "length": MAX_STEPS if success else int(rng.integers(10, MAX_STEPS)),
                "success_once": success,
                "success_at_end": success,
                "success": success,
                "termination": "time_out" if success else "fallen",
            }
        )
    return rows


def _write_progress(folder: Path, rng: np.random.Generator, skill: float, env_steps: int) -> None:
    steps = np.linspace(0, env_steps, 201)[1:]
    final = 1 / (1 + math.exp(-skill))
    midpoint = (0.25 + 0.1 * rng.random()) * env_steps
    success = final / (1 + np.exp(-(steps - midpoint) / (0.06 * env_steps))) + rng.normal(0, 0.03, steps.size)
    success = np.clip(success, 0, 1)
    success[0] = np.nan  # no episode has ended yet
    progress = {
        "env_steps": steps.astype(np.int64),
        "wall_time_s": steps / 2500,
        "steps_per_s": np.full(steps.size, 2500.0),
        "episodes": np.full(steps.size, 40),
        "return_mean": 60 + 140 * success,
        "length_mean": np.full(steps.size, 200.0),
        "success_mean": success,
        "loss": np.exp(-steps / env_steps),
    }
    pq.write_table(pa.table(progress), folder / "progress.parquet")
    # The teacher goes on as far as there is success.
    hardest = np.minimum(9, np.arange(steps.size) * np.nan_to_num(success) // 20)
    bins = {f"success_bin_{i}": np.where(i <= hardest, success, np.nan) for i in range(10)}
    bins |= {f"{kind}_bin_{i}": np.where(i <= hardest, 4.0, 0.0) for kind in ("episodes", "started") for i in range(10)}
    ranges = {"low.difficulty": np.zeros(steps.size), "high.difficulty": hardest / 10 + 0.1}
    curriculum = {"env_steps": progress["env_steps"], "difficulty_mean": np.zeros(steps.size), **bins, **ranges}
    pq.write_table(pa.table(curriculum), folder / "curriculum.parquet")


def _write_curve(folder: Path, skill: float, env_steps: int) -> None:
    points = []
    for done in (0.0, 0.25, 0.5, 0.75, 1.0):
        for i, grade in enumerate(GRADES):
            success = done * (skill - i > 0) * (1 - 0.1 * i)
            points.append(
                {
                    "env_steps": int(done * env_steps),
                    "wall_time_s": done * env_steps / 2500,
                    "teacher_time_s": done * env_steps / 1e6,
                    "grade": grade,
                    "episodes": 32,
                    "success": success,
                    "return_mean": 100 * success,
                }
            )
    pq.write_table(pa.Table.from_pylist(points), folder / "curve.parquet")
