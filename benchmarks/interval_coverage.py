"""How often the leaderboard's 95 % intervals cover the truth, by simulation: the table of docs/leaderboard.md.

    python -m benchmarks.interval_coverage [--runs leaderboard/published] [--repetitions 1000]

The populations are made of the published runs: each entry with five or more seeds on a task gives one per cell, the
outcomes of its seeds on its items (envs, with their start states and factor values). A repetition draws as many seeds
as are asked for and as many items as the cell has, with replacement, and takes their outcomes. So seeds share items,
are correlated as the published ones are, and fail as a whole where published ones do. The truth is the population's
mean. Cells of one task share the drawn seeds where their mean is asked for. Seeded: the same numbers every time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from leaderboard.board import board
from leaderboard.board.rows import TaskRow, is_reference, outcomes
from leaderboard.stats import crossed, intervals
from leaderboard.stats.crossed import Outcomes
from leaderboard.stats.intervals import Spread

SEEDS = (5, 10, 20)
POPULATION = 5  # seeds that an entry needs to be one
FLAT = (0.03, 0.97)  # success outside of this leaves an interval hardly a way to miss
KINDS = {"nominal": "nominal", "factor": "single factor", "category": "category, mixed, held out"}
KINDS |= {"all": KINDS["category"], "held_out": KINDS["category"]}


def populations(found: board.Board) -> Iterator[tuple[TaskRow, dict[str, np.ndarray]]]:
    """Each row with enough seeds and the outcomes [seeds, items] of its cells."""
    for row in found.results:
        if len(row.runs) >= POPULATION and not is_reference(row):
            cells = [run.evaluation.cells for run in row.runs]
            names = [name for name in cells[0].names if all(name in c.names for c in cells)]
            yield row, {n: crossed.outcomes([c.items[c.names.index(n)] for c in cells]) for n in names}


def draw(rng: np.random.Generator, cells: Outcomes, seeds: int, repetitions: int) -> list[np.ndarray]:
    """Outcomes [repetitions, seeds, items] of seeds and items drawn from the population `cells`."""
    which = rng.integers(len(cells[0]), size=(repetitions, seeds, 1))
    return [y[which, rng.integers(y.shape[1], size=(repetitions, 1, y.shape[1]))] for y in cells]


def seeds_alone(cells: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """The interval from the spread of seeds alone, as if they shared nothing: what stood here before."""
    means = np.mean([y.mean(axis=-1) for y in cells], axis=0)
    seeds = means.shape[-1]
    spread = Spread(means.var(axis=-1, ddof=1) / seeds, np.array(seeds - 1.0))
    every = np.array(sum(seeds * y.shape[-1] for y in cells))
    return intervals.spread_interval(means.mean(axis=-1), every, spread)


def score(tasks: list[Outcomes]) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the mean over tasks."""
    spread = intervals.combine([crossed.components(cells).spread for cells in tasks])
    mean = np.mean([crossed.mean(cells) for cells in tasks], axis=0)
    return intervals.spread_interval(mean, np.array(sum(map(crossed.trials, tasks))), spread)


def covered(truth: float, limits: tuple[np.ndarray, np.ndarray]) -> float:
    low, high = limits
    return float(np.mean((low <= truth + 1e-12) & (truth - 1e-12 <= high)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("leaderboard/published"))
    parser.add_argument("--repetitions", type=int, default=1000)
    args = parser.parse_args()
    found = board.load(args.runs)
    every = list(populations(found))
    rng = np.random.default_rng(0)
    results: dict[tuple[str, int], list[tuple[str, float, float, float]]] = defaultdict(list)

    def note(kind: str, seeds: int, name: str, truth: float, drawn: Outcomes, interval: Callable) -> None:
        alone = covered(truth, seeds_alone(drawn))
        results[kind, seeds].append((name, truth, covered(truth, interval(drawn)), alone))

    for seeds in SEEDS:
        for row, cells in every:
            for name, y in cells.items():
                kind = KINDS[name.split("/")[0]]
                drawn = draw(rng, [y], seeds, args.repetitions)
                note(kind, seeds, f"{row.task} {name}", float(y.mean()), drawn, crossed.success_interval)
            grades = outcomes(row.runs, row.engine)
            drawn = draw(rng, grades, seeds, args.repetitions)
            note(
                "task, mean over grades", seeds, row.task, float(crossed.mean(grades)), drawn, crossed.success_interval
            )
        for ranked in found.ranking:
            if ranked.rank is None:
                continue
            tasks = [outcomes(row.runs, row.engine) for row in ranked.rows]
            truth = float(np.mean([crossed.mean(cells) for cells in tasks]))
            hits, few = [], 200  # repetitions at a time, for memory
            for _ in range(0, args.repetitions, few):
                hits.append(covered(truth, score([draw(rng, cells, seeds, few) for cells in tasks])))
            results["score", seeds].append((ranked.entry.algo, truth, float(np.mean(hits)), np.nan))

    heading = " | ".join(f"{seeds} seeds" for seeds in SEEDS)
    print(f"| kind | populations | {heading} | seeds alone: {heading} |\n|---|---|" + "---|" * 2 * len(SEEDS))
    for kind in dict.fromkeys(kind for kind, _ in results):
        for name, low, high in (("all", -1.0, 2.0), ("success of 3 to 97 %", *FLAT)):
            rows = [[r for r in results[kind, seeds] if low < r[1] < high] for seeds in SEEDS]
            if name != "all" and len(rows[0]) == len(results[kind, SEEDS[0]]):
                continue
            shown = [f"{100 * np.mean([r[i] for r in found]):.1f} %" for i in (2, 3) for found in rows]
            print(f"| {kind}, {name} | {len(rows[0])} | " + " | ".join(t.replace("nan %", "") for t in shown) + " |")
    for seeds in SEEDS:
        print(f"\nlowest with {seeds} seeds:")
        for kind in dict.fromkeys(kind for kind, _ in results):
            found_rows = results[kind, seeds]
            below = np.mean([r[2] < 0.9 for r in found_rows])
            worst = ", ".join(
                f"{n} ({t:.2f}) {100 * c:.0f} %" for n, t, c, _ in sorted(found_rows, key=lambda r: r[2])[:6]
            )
            print(f"- {kind}: below 90 % in {100 * below:.0f} % of them; {worst}")


if __name__ == "__main__":
    main()
