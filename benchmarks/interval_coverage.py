"""How often the leaderboard's 95 % intervals cover the truth, by simulation: the tables of docs/leaderboard.md.

    python -m benchmarks.interval_coverage [--repetitions 2000]

Each seed has its own true success probability on each grade, drawn from a beta distribution (the grades of a seed by
the same quantile, as a training that went badly does badly on all grades); episodes are binomial draws from it. The
truth is the distribution's mean. Seeded: the same numbers every time.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from leaderboard.stats import intervals, statistics

EPISODES = 64
SEEDS = (2, 3, 5, 10, 20)
CELLS = (
    (0.5, 0.0),
    (0.9, 0.0),
    (0.99, 0.0),
    (0.8, 0.05),
    (0.8, 0.1),
    (0.95, 0.05),
    (0.5, 0.2),
    (0.5, 0.35),
    (0.9, 0.2),
)
GRADES = np.array([0.95, 0.9, 0.75, 0.5, 0.2])  # mean success by grade


def probabilities(rng, mean, spread, seeds):
    """True success of each seed [seeds, grades] for means [grades] and one standard deviation between seeds."""
    mean = np.atleast_1d(mean)
    if spread == 0:
        return np.broadcast_to(mean, (seeds, mean.size))
    spread = np.minimum(spread, 0.9 * np.sqrt(mean * (1 - mean)))
    size = mean * (1 - mean) / spread**2 - 1
    return stats.beta.ppf(rng.random((seeds, 1)), mean * size, (1 - mean) * size)


def draw(rng, mean, spread, seeds, tasks=1):
    """Counts of `tasks` strata."""
    n = np.full((seeds, np.atleast_1d(mean).size), EPISODES)
    return [rng.binomial(n, probabilities(rng, mean, spread, seeds)) for _ in range(tasks)], [n] * tasks


def cell(rng, mean, spread, seeds, repetitions):
    hits = 0
    for _ in range(repetitions):
        (k,), (n,) = draw(rng, mean, spread, seeds)
        low, high = intervals.success_interval(k, n)
        hits += low[0] <= mean <= high[0]
    return hits / repetitions


def task(rng, spread, seeds, repetitions):
    hits = 0
    for _ in range(repetitions):
        (k,), (n,) = draw(rng, GRADES, spread, seeds)
        low, high = intervals.success_interval(k, n, axis=-1)
        hits += low <= GRADES.mean() <= high
    return hits / repetitions


def aggregate(rng, statistic, truth, spread, seeds, tasks, repetitions):
    hits = 0
    for _ in range(repetitions):
        k, n = draw(rng, GRADES, spread, seeds, tasks)
        spreads = intervals.combine([intervals.seed_spread(a, b, axis=-1) for a, b in zip(k, n, strict=True)])
        point = float(statistic([a / b for a, b in zip(k, n, strict=True)]))
        draws = statistic(intervals.resample(k, n, rng))
        low, high = intervals.bootstrap_interval(point, draws, spreads)
        hits += low <= truth <= high
    return hits / repetitions


def expected(rng, statistic, spread, seeds, tasks):
    """What the statistic's estimate is on average: IQM and median have no other truth that is free of bias."""
    values = []
    for _ in range(2000):
        k, n = draw(rng, GRADES, spread, seeds, tasks)
        values.append(statistic([a / b for a, b in zip(k, n, strict=True)]))
    return float(np.mean(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(0)
    heading = " | ".join(f"{seeds} seeds" for seeds in SEEDS)
    rule = "|".join(["---"] * (len(SEEDS) + 1))

    def row(name, covers):
        print(f"| {name} | " + " | ".join("" if np.isnan(c) else f"{100 * c:.0f} %" for c in covers) + " |", flush=True)

    print(f"| one grade: mean success, spread of seeds (s.d.) | {heading} |\n|{rule}|")
    for mean, spread in CELLS:
        name = f"{mean:.2f}, {spread or 'none'}"
        row(name, [cell(rng, mean, spread, seeds, repetitions) for seeds in SEEDS])
    print(f"\n| one task, mean over grades: spread of seeds | {heading} |\n|{rule}|")
    for spread in (0.0, 0.05, 0.1, 0.2):
        row(spread or "none", [task(rng, spread, seeds, repetitions) for seeds in SEEDS])
    print(f"\n| over tasks: statistic, tasks, spread of seeds | {heading} |\n|{rule}|")
    for tasks in (1, 3, 20):
        for spread in (0.0, 0.05, 0.2):
            few = max(repetitions // 4, 100) if tasks == 20 else repetitions // 2
            for statistic in (statistics.mean, statistics.median, statistics.iqm):
                covers = []
                for seeds in SEEDS[2:] if tasks == 20 else SEEDS:
                    truth = GRADES.mean()
                    if statistic is not statistics.mean:
                        truth = expected(rng, statistic, spread, seeds, tasks)
                    covers.append(aggregate(rng, statistic, truth, spread, seeds, tasks, few))
                row(f"{statistic.__name__}, {tasks}, {spread or 'none'}", [np.nan] * (5 - len(covers)) + covers)


if __name__ == "__main__":
    main()
