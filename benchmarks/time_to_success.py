"""Seconds of training until a policy succeeds at the easiest grade, from runs that kept a curve by grade.

    python -m suite.run --task all --budget quick train.curve=true
    python -m benchmarks.time_to_success runs
    python -m benchmarks.time_to_success leaderboard/published --training

Prints a Markdown table: per task, algorithm and setting, for the median of the seeds, the seconds and env steps until
the success rate at `--grade` first reaches `--success` at a checkpoint, interpolated from the one before. The seconds
are of collecting and updating alone, without start and without the evaluations at the checkpoints. Seeds that never
reach it count as infinitely slow.

`--training` takes all runs, and of the training's own episodes, with exploration, those in the easiest tenth of
difficulty: reached is the first row of curriculum.parquet (about 200 a training) with `EPISODES` of them or more and
that success. Its seconds include the first iteration, in which kernels may be compiled.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median_high

import numpy as np
import pyarrow.parquet as pq

from leaderboard.data import runs as runs_module
from leaderboard.stats.curve_metrics import to_threshold
from tasks.spec import GRADES

EPISODES = 5  # in the easiest tenth of difficulty between two rows of curriculum.parquet


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_to_success", description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--grade", default=GRADES[0], choices=GRADES)
    parser.add_argument("--success", type=float, default=0.9)
    parser.add_argument("--training", action="store_true", help="the training's own episodes at the easiest difficulty")
    args = parser.parse_args(argv)
    times: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for run in runs_module.find(args.runs).runs:
        curve, e = run.by_grade, run.entry
        if args.training:
            if reached := run.curve and _in_training(args.runs / run.path, args.success):
                times[run.task, e.algo, f"{e.curriculum}-{e.randomization}-{e.engine}"].append(reached)
        elif curve is not None:
            success = curve.success[:, GRADES.index(args.grade)][:, None]
            reached = (to_threshold(x, success, args.success) for x in (curve.seconds, curve.steps))
            times[run.task, e.algo, f"{e.curriculum}-{e.randomization}-{e.engine}"].append(tuple(reached))
    if not times:
        print(f"no run under {args.runs} has a curve: train with train.curve=true", file=sys.stderr)
        return 2
    print(table(times, "difficulties up to 0.1" if args.training else args.grade, args.success))
    return 0


def _in_training(folder: Path, success: float) -> tuple[float, float] | None:
    """Seconds and env steps, NaN where it was never reached; None where no episode was as easy."""
    taught, trained = (pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("curriculum", "progress"))
    if not len(taught) or not (easy := taught["episodes_bin_0"] >= EPISODES).any():
        return None
    reached = taught[easy & (taught["success_bin_0"] >= success)]
    if not len(reached):
        return math.nan, math.nan
    steps = reached["env_steps"].iloc[0]
    return float(np.interp(steps, trained["env_steps"], trained["wall_time_s"])), float(steps)


def table(times: dict[tuple[str, ...], list[tuple[float, float]]], grade: str, success: float) -> str:
    lines = [
        f"| task | algorithm | setting | seeds | {success:.0%} at {grade} in | seconds | env steps |",
        "|---" * 7 + "|",
    ]
    for key, by_seed in sorted(times.items()):
        # A seed that never got there is NaN, which sorts nowhere.
        seconds, steps = (median_high(np.nan_to_num(x, nan=math.inf)) for x in np.array(by_seed).T)
        reached = int(np.isfinite(np.array(by_seed)[:, 0]).sum())
        cells = ("never", "never") if math.isinf(seconds) else (f"{seconds:,.0f}", f"{steps:,.0f}")
        lines.append(f"| {' | '.join((*key, str(len(by_seed)), f'{reached} of {len(by_seed)}', *cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
