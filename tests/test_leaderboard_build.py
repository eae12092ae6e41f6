import base64
import csv
import hashlib
import io
import json
import random
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from rich.console import Console

from leaderboard import board, build, page, table
from leaderboard.runs import find
from suite.errors import exit_code
from tests.synthetic_runs import write_run, write_unfinished


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two tasks, two budgets: ppo with five seeds and another engine, sac with two, a reference, an unfinished run."""
    folder = tmp_path_factory.mktemp("runs")
    for task in ("cartpole-balance", "franka-reach"):
        for seed in range(5):
            write_run(folder, task, "ppo", seed, skill=3, engines=("newton_mjwarp",) if seed < 2 else ())
        for seed in range(2):
            write_run(folder, task, "sac", seed, skill=4)
        write_run(folder, task, "random", skill=-3, trained=False)
    write_run(folder, "franka-reach", "ppo", budget="full", skill=5, overrides={"agent.gamma": 0.9})
    write_unfinished(folder, "failed", "broken")
    return folder


@pytest.fixture(scope="module")
def made(out):
    return board.load(out)


@pytest.fixture(scope="module")
def site(out, tmp_path_factory):
    return build.build(out, tmp_path_factory.mktemp("site")).parent


def test_ranks_need_seeds_training_and_all_tasks(made):
    shown = [(r.entry.budget, r.entry.algo, r.rank, r.unranked) for r in made.ranking]
    assert shown == [
        ("full", "ppo", None, "1 of 2 tasks"),
        ("smoke", "sac", None, "2 of 5 seeds"),
        ("smoke", "ppo", 1, ""),
        ("smoke", "random", None, "reference"),
    ]


def test_equal_scores_share_a_rank_and_budgets_rank_apart(tmp_path):
    for seed in range(5):
        for algo in ("a2c", "ppo"):
            write_run(tmp_path, algo=algo, seed=seed, skill=50, episodes=4)
        write_run(tmp_path, algo="sac", seed=seed, skill=0, episodes=4)
        write_run(tmp_path, algo="sac", seed=seed, skill=0, episodes=4, budget="full")
    ranks = {(r.entry.algo, r.entry.budget): r.rank for r in board.load(tmp_path).ranking}
    assert ranks == {("a2c", "smoke"): 1, ("ppo", "smoke"): 1, ("sac", "smoke"): 3, ("sac", "full"): 1}


def test_a_row_adds_up(made):
    row = next(r for r in made.results if r.task == "franka-reach" and r.entry.algo == "sac")
    for i, cell in enumerate(row.cells):
        assert cell.successes == sum(run.evaluation.successes[i] for run in row.runs)
        assert cell.episodes == 2 * 64
        assert cell.success.value == pytest.approx(cell.successes / cell.episodes)
        assert cell.success.low <= cell.success.value <= cell.success.high
    assert row.mean.value == pytest.approx(sum(cell.success.value for cell in row.cells) / 5)
    score = next(r for r in made.ranking if r.entry == row.entry).score.value
    assert score == pytest.approx(sum(r.mean.value for r in made.results if r.entry == row.entry) / 2)


def test_engines_are_compared_over_the_same_seeds(made):
    for row in made.engines:
        assert (row.own.engine, row.other.engine) == ("ovphysx", "newton_mjwarp")
        assert [run.seed for run in row.own.runs] == [run.seed for run in row.other.runs] == [0, 1]
        assert row.change == pytest.approx(row.other.mean.value - row.own.mean.value)


def test_a_row_does_not_depend_on_the_others(out, made):
    alone = board.make(run for run in find(out).runs if run.entry.algo == "sac")
    row = alone.results[0]
    twin = next(r for r in made.results if (r.task, r.entry) == (row.task, row.entry))
    assert (twin.mean, twin.cells) == (row.mean, row.cells)


def test_the_order_of_runs_does_not_matter(out, made):
    runs = find(out).runs
    random.Random(0).shuffle(runs)
    assert page.render(board.make(runs, made.skipped)) == page.render(made)


def test_another_process_writes_the_same_files_and_imports_no_torch(out, site, tmp_path):
    code = (
        "import sys; from leaderboard import build, table; assert build.main() == 0;"
        "bad = {'torch', 'tasks', 'baselines', 'curricula', 'wandb', 'isaaclab'} & set(sys.modules);"
        "assert not bad, bad"
    )
    command = [sys.executable, "-c", code, str(out), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "index.html"), "runs: 17; left out: 1, the page says why"]
    names = ["index.html", "leaderboard.csv", "leaderboard.json"]
    assert sorted(f.name for f in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (site / name).read_bytes()


def test_json_and_csv_say_the_same(made, site):
    content = json.loads((site / "leaderboard.json").read_text())
    assert content["newest_run_ended"] == "2026-11-20T11:04:30+00:00"
    assert content["skipped"][0]["reason"] == "the run failed: broken"
    assert len(content["runs"]) == len(made.runs)
    rows = list(csv.DictReader(io.StringIO((site / "leaderboard.csv").read_text())))
    assert len(rows) == 5 * (len(content["results"]) + len(content["engines"]))
    (cell,) = [r for r in rows if r["algo"] == "sac" and r["task"] == "franka-reach" and r["grade"] == "g2"]
    row = next(r for r in content["results"] if r["algo"] == "sac" and r["task"] == "franka-reach")
    assert float(cell["success_low"]) == row["grades"]["g2"]["success"]["low"]
    assert row["runs"] == [f"0.1.0/franka-reach/sac/none-r0-ovphysx-smoke/seed{k}" for k in (0, 1)]


class Document(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.urls = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.urls += [attrs[k] for k in ("href", "src", "xlink:href", "action") if k in attrs]


def test_the_page_needs_no_other_file(site):
    text = (site / "index.html").read_text()
    document = Document(text)
    assert {url for url in document.urls if not url.startswith(("#", "data:"))} == {
        "leaderboard.json",
        "leaderboard.csv",
    }
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(document.ids) == len(set(document.ids))
    assert {url[1:] for url in document.urls if url.startswith("#")} <= set(document.ids)


def test_text_from_runs_cannot_become_markup(tmp_path):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    folder = write_run(tmp_path, overrides={attack: attack}, provenance={attack: {attack: [attack]}, "command": attack})
    (folder / "config.yaml").write_text(attack)
    write_unfinished(tmp_path, "failed", attack)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "command": attack, "device": attack}))
    text = build.build(tmp_path, tmp_path / "site").read_text()
    assert "alert(1)" in text
    assert Document(text).tags.count("script") == 1
    assert "img" not in Document(text).tags
    build.build(tmp_path, tmp_path / "site")  # a second time, over the first


def test_half_characters_and_deep_provenance_are_shown(tmp_path):
    deep = "\ud800"
    for _ in range(50):
        deep = {"deeper": deep}
    write_run(tmp_path, provenance={"deep": deep})
    text = build.build(tmp_path, tmp_path / "site").read_text()
    assert "deeper" in text


def test_the_script_is_the_one_that_the_policy_allows(site):
    text = (site / "index.html").read_text()
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_curves_take_their_colours_from_the_page(site):
    text = (site / "index.html").read_text()
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) == 3  # a task and budget each
    for figure in figures:
        assert "var(--series-" in figure
        assert not re.search(r"(stroke|fill): #", figure)


def test_the_terminal_table_has_every_row(made):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table.render(made))
    text = console.export_text()
    assert "none, r0, ovphysx" in text
    assert text.count("cartpole-balance") == text.count("franka-reach") == 1
    assert "agent.gamma=0.9" in text
    row = next(r for r in made.results if r.entry.algo == "random")
    assert f"{100 * row.cells[0].success.low:.0f}–{100 * row.cells[0].success.high:.0f}" in text


def test_an_empty_board_is_a_table_without_rows(tmp_path):
    assert table.render(board.load(tmp_path)).row_count == 0


def run_cli(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["build", *map(str, arguments)])
    try:
        code = exit_code("leaderboard.build", build.main)
    except SystemExit as error:
        code = error.code
    return code, capsys.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(monkeypatch, capsys, out, tmp_path):
    file = tmp_path / "file"
    file.touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    unfinished = tmp_path / "unfinished"
    write_unfinished(unfinished)
    site = tmp_path / "site"
    cases = [
        (tmp_path / "missing", site, "No such file"),
        (file, site, "Not a directory"),
        (empty, site, "no run directory"),
        (unfinished, site, "no complete run"),
        (out, file, "not a folder"),
        (out, file / "below", "Not a directory"),
        (out, "/proc/leaderboard", "cannot write"),
    ]
    for runs, target, expected in cases:
        code, error = run_cli(monkeypatch, capsys, runs, "--out", target)
        assert code == 2, expected
        assert expected in error
        assert error.count("\n") == 1
    assert not site.exists()


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(monkeypatch, capsys, out, tmp_path):
    (tmp_path / "index.html").mkdir()
    code, error = run_cli(monkeypatch, capsys, out, "--out", tmp_path)
    assert code == 2
    assert "Is a directory" in error
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]
