import io
from types import SimpleNamespace

import pytest
from rich.console import Console

import tasks
from suite.report.display import Board

WIDTHS = (40, 60, 80, 100, 120)
STEPS = 500_000


def job(task, state, message="", variant="none-r0-ovphysx-smoke", seed=0, **status):
    name = SimpleNamespace(task=task, algo="ppo", variant=variant, seed=seed, env_steps=STEPS)
    return SimpleNamespace(job=name, state=state, message=message, status=status)


def main_job():
    names = tasks.names()
    jobs = [job(name, "queued") for name in names]
    numbers = {"steps_per_s": 5300.0, "return_mean": 3.1, "success_mean": 0.2, "eta_s": 80}
    jobs[0] = job(names[0], "training", total_env_steps=STEPS, env_steps=61_000, **numbers)
    jobs[1] = job(names[1], "evaluating", "evaluated 0 of 320 episodes", total_env_steps=STEPS, env_steps=STEPS)
    jobs[2] = job(names[2], "failed", "RuntimeError: one line that is much longer than this screen is wide " * 3)
    jobs[3] = job(names[3], "complete", total_env_steps=STEPS, env_steps=STEPS, success_mean=0.3)
    return jobs


def drawn(jobs, width, height=24):
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(Board(jobs))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_main_job_fits_a_terminal(width):
    jobs = main_job()
    lines = drawn(jobs, width)
    assert max(map(len, lines)) <= width
    assert len(lines) < 24
    text = "\n".join(lines)
    assert lines[0].startswith("12 runs: 1 training, 1 evaluating")
    head = next(i for i, line in enumerate(lines) if line.startswith("task"))
    summary, rows = " ".join(lines[:head]), lines[head + 1 :]
    assert "18% of 6.0M env steps" in summary
    assert "about 15:32 left" in summary
    for t in jobs:  # a line each, with its whole name and state
        assert sum(line.startswith(t.job.task) and t.state in line for line in rows) == 1
    assert "evaluated 0 of 320 episodes" in text
    assert len(rows) == len(jobs) + 2  # the messages
    for row in rows:  # no word is broken up into letters that stand below each other
        assert not any(len(word) == 1 and word.isalpha() for word in row.split())


@pytest.mark.parametrize(("width", "missing"), [(120, set()), (80, {"return"}), (60, {"return", "steps/s", "algo"})])
def test_columns_go_by_width(width, missing):
    head = next(line for line in drawn(main_job(), width) if line.startswith("task")).split()
    assert {"task", "state", "left"} <= set(head)
    assert not missing & set(head)
    assert set(head) >= {"algo", "seed", "steps", "steps/s", "return", "success", "left"} - missing - {"seed"}


def test_labels_that_differ_stay():
    jobs = [job("go2-velocity", "training", variant=v, seed=s) for v in ("adr-r0-ovphysx-full", "none") for s in (0, 1)]
    lines = drawn(jobs, 40)
    assert any(line.split()[:4] == ["task", "variant", "seed", "state"] for line in lines)
    assert max(map(len, lines)) <= 40
    assert any("adr-r0" in line and " 1 " in line for line in lines)


@pytest.mark.parametrize("height", [6, 10, 14])
def test_a_short_screen_counts_what_does_not_run(height):
    lines = drawn(main_job(), 80, height)
    assert len(lines) < height
    assert lines[0].startswith("12 runs")
    assert any("cartpole-balance" in line for line in lines)
    assert lines[-1].startswith("and ")
    assert "queued" in lines[-1]


def test_many_runs_at_once_lose_their_messages_before_their_lines():
    jobs = [job("ant-run", "evaluating", "evaluated 0 of 320 episodes", seed=seed) for seed in range(18)]
    lines = drawn([*jobs, *(job("ant-run", "queued", seed=18 + i) for i in range(100))], 80)
    assert len(lines) < 24
    assert sum("evaluating" in line for line in lines[1:]) == 18
    assert lines[-1] == "and 98 queued"


def test_a_message_is_shown_as_it_is():
    lines = drawn([job("ant-run", "failed", "[red]not a colour[/red]\nsecond line")], 80)
    assert lines[-1] == "  [red]not a colour[/red] second line"
