"""How long the leaderboard's site takes to build and its pages to open, from many made-up runs.

    python -m benchmarks.page_scale --work FOLDER [--entries 1000] [--tasks 20] [--seeds 1]

Makes ENTRIES x TASKS x SEEDS run directories of five grades in FOLDER (kept for the next call), then builds the site
with `python -m leaderboard.build` as a user would, then opens pages in headless Chromium: from the request to the
second frame after the page has loaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tests.helpers.synthetic_runs import write_run

PAGES = ("index.html", "tasks.html", "grades.html", "cost.html", "tasks/*.html", "runs/*.html")
TWO_FRAMES = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));"


def make(entry: int, out: Path, tasks: int, seeds: int) -> None:
    skill = np.random.default_rng(entry).normal(2, 2)
    for task in range(tasks):
        for seed in range(seeds):
            write_run(out, f"task-{task:02d}", f"agent{entry:04d}", seed, skill=skill - task / 10, budget="full")


def make_runs(out: Path, entries: int, tasks: int, seeds: int) -> None:
    draft = out.with_name(f".{out.name}")
    shutil.rmtree(draft, ignore_errors=True)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(partial(make, out=draft, tasks=tasks, seeds=seeds), range(entries), chunksize=10):
            pass
    os.replace(draft, out)


def open_pages(site: Path) -> None:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as browser:
        browser.get("about:blank")
        for pattern in PAGES:
            page = min(site.glob(pattern))
            start = time.monotonic()
            browser.get(page.as_uri())
            browser.execute_async_script(TWO_FRAMES)
            seconds = time.monotonic() - start
            print(f"open {page.relative_to(site)}: {seconds:.2f} s, {page.stat().st_size / 1e6:.2f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    runs = args.work / f"runs-{args.entries}-{args.tasks}-{args.seeds}"
    site = args.work / "site"
    if not runs.exists():
        args.work.mkdir(parents=True, exist_ok=True)
        make_runs(runs, args.entries, args.tasks, args.seeds)
    shutil.rmtree(site, ignore_errors=True)
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "leaderboard.build", str(runs), "--out", str(site)], check=True)
    seconds = time.monotonic() - start
    count = args.entries * args.tasks * args.seeds
    size = sum(f.stat().st_size for f in site.rglob("*") if f.is_file()) / 1e6
    cores = len(os.sched_getaffinity(0))
    print(f"build of {count} runs: {seconds:.1f} s on {cores} cores, {size:.0f} MB", flush=True)
    open_pages(site)


if __name__ == "__main__":
    main()
