"""How long `suite.run --dry-run` and `suite.status` take on thousands of runs, all of them begun, half complete.

python -m benchmarks.plan_scale [--runs N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import curricula
from suite.cli import arguments
from suite.plan import config as configs
from suite.plan import plans
from suite.plan.matrix import plan
from suite.runs.rundir import RESULT_KEYS
from tasks.spec import GRADES


def command(out: Path, seeds: int) -> list[str]:
    names = ",".join(curricula.names())
    matrix = ["--task", "all", "--algo", "all", "--curriculum", names, "--seeds", str(seeds), "--budget", "full"]
    return [*matrix, "--device", "cpu", "--wandb", "disabled", "--out", str(out)]


def fill(out: Path, seeds: int) -> int:
    """Make the run directories; returns how many."""
    request, _, _ = arguments.parse(command(out, seeds))
    jobs = plan(request)
    plans.save(jobs, request)
    for k, job in enumerate(jobs):
        job.run.path.mkdir(parents=True)
        content = job.content("cpu")
        # JSON is YAML; dumping YAML ten thousand times would take minutes.
        job.run.config.write_text(
            f"# identity sha256 {configs.fingerprint(content)}\n{json.dumps(content, indent=1)}\n"
        )
        total = job.env_steps
        done = total if k % 2 else total // 3
        status = {"state": "queued", "env_steps": done, "total_env_steps": total, "steps_per_s": 50_000.0}
        job.run.status.write_text(json.dumps(status | {"success_mean": 0.5, "return_mean": 1.0, "message": ""}))
        if k % 2:
            complete(job, total)
    return len(jobs)


def complete(job, total: int) -> None:
    job.run.policy.touch()
    job.run.episodes.touch()
    result = dict.fromkeys(RESULT_KEYS, "") | {
        **{key: job.setting[key] for key in ("suite_version", "task", "algo", "engine")},
        "num_envs": job.setting["train"]["num_envs"],
        **{name: dict.fromkeys(GRADES, 1024) for name in ("success", "episodes", "return")},
        "env_steps": total,
        "wall_time_s": total / 50_000,
        "evaluation_time_s": 30.0,
        "device": "Example GPU",
        # As long as a real one.
        "provenance": {"gpus": ["Example GPU"], "packages": {f"package-{i}": "1.0.0" for i in range(60)}},
    }
    job.run.result.write_text(json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="make the runs there, or use those that are there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = args.keep or Path(scratch) / "runs"
        request, _, _ = arguments.parse(command(out, 1))
        per_seed = len(plan(request))
        seeds = -(-args.runs // per_seed)
        if not out.exists():
            fill(out, seeds)
        count = len(list(plans.run_dirs(out)))
        for words in (["suite.run", *command(out, seeds), "--dry-run"], ["suite.status", str(out)]):
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
            seconds = time.perf_counter() - start
            if done.returncode not in (0, 1) or done.stderr:
                sys.exit(done.stderr)
            print(f"{seconds:.2f} s for {count} runs: python -m {shlex.join(words[:1])} ...")
            print("    " + done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
