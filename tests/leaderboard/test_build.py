import csv
import io
import json
import math
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from rich.console import Console

import tasks
from leaderboard import build
from leaderboard.board import board, curriculum_comparison, ranking
from leaderboard.data import parallel, runs
from leaderboard.data.runs import find
from leaderboard.site import export, page, table
from suite.errors import exit_code
from tests.helpers.synthetic_runs import rehash, write_run, write_unfinished

TASKS = ("cartpole-balance", "franka-reach")


@pytest.fixture(scope="module", autouse=True)
def small_suite():
    """A suite of two tasks, so that five seeds of them have a rank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "names", lambda: list(TASKS))
        yield


@pytest.fixture
def one_task(monkeypatch):
    """A suite of one task."""
    monkeypatch.setattr(tasks, "names", lambda: ["cartpole-balance"])


def pages_of(made, submissions=""):
    return list(page.files(*page.run_pages(made, submissions), submissions))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two tasks, two budgets: ppo with five seeds and another engine, sac with two, a reference, an unfinished run."""
    folder = tmp_path_factory.mktemp("runs")
    for task in TASKS:
        for seed in range(5):
            write_run(
                folder, task, "ppo", seed, skill=3, engines=("newton_mjwarp",) if seed < 2 else (), perturbed=True
            )
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


@pytest.mark.filterwarnings("error")
def test_entries_without_a_task_in_common_are_not_compared(tmp_path):
    write_run(tmp_path, "cartpole-balance", "ppo")
    write_run(tmp_path, "franka-reach", "sac")
    one, other = board.load(tmp_path).ranking
    assert math.isnan(ranking.improvement(one, other))
    assert 0.0 <= ranking.improvement(one, one) <= 1.0


def test_entries_on_some_tasks_stand_by_what_they_solved_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "names", lambda: ["cartpole-balance", "franka-reach", "go2-velocity"])
    for task in ("cartpole-balance", "franka-reach", "go2-velocity"):
        for algo in ("a2c", "ppo"):
            if (task, algo) != ("go2-velocity", "ppo"):
                write_run(tmp_path, task, algo, skill=3)
    write_run(tmp_path, "cartpole-balance", "sac", skill=5)  # the highest score, of one task
    write_run(tmp_path, "cartpole-balance", "td3", skill=-9)
    assert [row.entry.algo for row in board.load(tmp_path).ranking] == ["a2c", "ppo", "sac", "td3"]


def test_equal_scores_share_a_rank_and_budgets_rank_apart(tmp_path, one_task):
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
    score = next(r for r in made.ranking if r.entry == row.entry).score
    assert score.low < score.value < score.high
    assert score.value == pytest.approx(sum(r.mean.value for r in made.results if r.entry == row.entry) / 2)


def test_one_seed_has_no_interval_and_partial_coverage_no_score(made, site):
    one = next(r for r in made.results if r.entry.budget == "full")
    several = next(r for r in made.results if r.entry.algo == "sac")
    for estimate in (one.mean, *(cell.success for cell in one.cells)):
        assert 0 <= estimate.value <= 1
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    assert several.mean.low < several.mean.value < several.mean.high
    partial, _, _, reference = made.ranking
    assert math.isnan(partial.score.value)
    assert math.isnan(reference.score.low)
    assert reference.score.value >= 0
    learned = [reference.learned.value, *(row.learned.value for row in reference.rows)]
    assert all(map(math.isnan, learned))  # nobody trained it
    content = json.loads((site / "leaderboard.json").read_text())
    assert content["ranking"][0]["score"] == {"value": None, "low": None, "high": None}
    assert not re.search(r"\bnan\b", "".join(p.read_text() for p in site.rglob("*.html")), re.IGNORECASE)


def test_neighbours_in_the_ranking_are_compared(tmp_path, one_task):
    for seed in range(5):
        for algo, skill in (("a2c", 4), ("ppo", 4.1), ("sac", -1)):
            write_run(tmp_path, algo=algo, seed=seed, skill=skill)
    first, second, last = board.load(tmp_path).ranking
    assert not first.versus.difference.significant
    assert second.versus.difference.significant
    assert second.versus.difference.value == pytest.approx(second.score.value - last.score.value)
    assert second.versus.improvement.value == 1
    assert last.versus is None


def test_rank_sets_hold_the_rank_and_all_that_the_intervals_leave_open(tmp_path, one_task):
    for seed in range(5):
        for algo, skill in (("a2c", 4), ("ppo", 4.1), ("sac", -9)):
            write_run(tmp_path, algo=algo, seed=seed, skill=skill)
    first, second, last = made = board.load(tmp_path).ranking
    assert [row.ranks for row in made] == [(1, 2), (1, 2), (3, 3)]
    index = dict(pages_of(board.load(tmp_path)))["index.html"]
    assert "<small>1–2</small>" in index
    assert "<small>3–3</small>" not in index
    assert (first.learned.value, second.learned.value, last.learned.value) == (1, 1, 0)
    assert last.learned.high > 0.3  # none of five seeds


def test_a_further_task_unranks_nobody(tmp_path, one_task):
    for seed in range(5):
        write_run(tmp_path, seed=seed)
    before = board.load(tmp_path).ranking[0]
    write_run(tmp_path, "franka-reach", algo="sac")
    after = next(row for row in board.load(tmp_path).ranking if row.entry == before.entry)
    assert (after.rank, after.score, after.ranks) == (1, before.score, (1, 1))


def test_chance_threshold_and_reliability_are_shown(made, site):
    ppo = next(row for row in made.ranking if row.rank == 1)
    chance = next(row for row in made.ranking if row.unranked == "reference")
    assert chance.beyond_chance == pytest.approx(0)
    assert 0 < ppo.beyond_chance < ppo.score.value
    for row in ppo.rows:
        assert row.d50.low < row.d50.value < row.d50.high
        assert 0 < row.first_success < 100_000
    assert math.isnan(chance.rows[0].first_success)  # it was not trained
    task = (site / "tasks" / "franka-reach.html").read_text()
    for title in ("d50", "Learned", "First success"):
        assert f">{title}</button>" in task
    assert ">Beyond chance</button>" in (site / "index.html").read_text()
    first = json.loads((site / "leaderboard.json").read_text())["ranking"][2]
    assert first["ranks"] == [1, 1]
    assert first["d50"] == round(ppo.d50, 6)


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
    again = board.make(runs, made.skipped)
    assert pages_of(again) == pages_of(made)


def test_another_process_writes_the_same_files_and_imports_no_torch(out, site, tmp_path):
    code = (
        "import sys, tasks; from leaderboard import build; from leaderboard.site import table;"
        f"tasks.names = lambda: {list(TASKS)}; assert build.main() == 0;"
        "bad = {'torch', 'baselines', 'curricula', 'wandb', 'isaaclab', 'warp'} & set(sys.modules);"
        "assert not bad, bad"
    )
    command = [sys.executable, "-c", code, str(out), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "index.html"), "runs: 17; left out: 1, the page says why"]
    files = {f.relative_to(site) for f in site.rglob("*") if f.is_file()}
    assert {f.relative_to(tmp_path) for f in tmp_path.rglob("*") if f.is_file()} == files
    for name in files:
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
    for name in ("ranking", "leaderboard", "cells", "runs"):
        table = pq.read_table(site / f"{name}.parquet")
        with (site / f"{name}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert [list(line) for line in lines[:1]] == [table.column_names]
        assert len(lines) == table.num_rows
    cells = pq.read_table(site / "cells.parquet").to_pylist()
    (mass,) = [c for c in cells if c["task"] == "franka-reach" and c["cell"] == "factor/mass/4" and c["seed"] == 3]
    assert mass["episodes"] == 32
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


def test_every_link_leads_to_a_file_of_the_site(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 7 + 2 + 17  # parts, tasks, runs
    for file in pages:
        document = Document(file.read_text())
        for url in document.urls:
            if url.startswith("#"):
                assert url[1:] in document.ids
            elif not url.startswith("data:"):
                assert (file.parent / url).is_file(), (file, url)
        assert len(document.ids) == len(set(document.ids)), file
        assert not re.search(r"@import|url\((?!#)", file.read_text())


def test_the_site_has_every_part(site):
    index = (site / "index.html").read_text()
    for title in ("Performance profile", "Sample efficiency", "Probability of improvement"):
        assert title in index
    assert "Success by grade" in (site / "grades.html").read_text()
    assert "newton_mjwarp" in (site / "robustness.html").read_text()
    task = (site / "tasks" / "franka-reach.html").read_text()
    assert "Bring the Panda" in task
    assert "Learning curves" in task
    assert "Success by magnitude" in task
    run = next((site / "runs").glob("franka-reach-ppo-*-smoke-seed0-*.html")).read_text()
    for text in ("factor/mass/4", "held_out/mixed", "joint_speed", "learning_rate: 0.0003", "polyline", "isaaclab"):
        assert text in run
    assert "suite.run --task franka-reach --algo ppo --seeds 1" in run


def test_curricula_are_compared_with_none_and_uniform(tmp_path):
    for curriculum, skill in (("none", 0), ("uniform", 1), ("staged", 4)):
        for seed in range(3):
            write_run(tmp_path, seed=seed, skill=skill, curriculum=curriculum, curve=True)
    text = (build.build(tmp_path, tmp_path / "site").parent / "curricula.html").read_text()
    for expected in ("Against none", "Against uniform", "Along the training", "Jump-start", "staged"):
        assert expected in text
    shown = curriculum_comparison.context(board.load(tmp_path))
    staged = shown["groups"][0][2][0]
    assert staged.row.entry.curriculum == "staged"
    assert staged.against["none"].p < 0.05 < staged.against["none"].value
    along = {row.curriculum: row for row in shown["comparisons"][0][1]}
    assert along["staged"].against["none"] > 0


def test_energy_is_shown_where_it_is_known(tmp_path):
    for seed, joules in enumerate((3.6e6, 10.8e6)):
        write_run(tmp_path, "cartpole-balance", "ppo", seed, energy_j=joules)
        write_run(tmp_path, "cartpole-balance", "sac", seed, energy_j=joules if seed else None)
    site = build.build(tmp_path, tmp_path / "site").parent
    costs = (site / "cost.html").read_text()
    assert "Energy a run" in costs
    assert re.findall(r"[\d.]+ kWh", costs) == ["2 kWh"]  # mean of ppo's; of sac one run's is not known
    assert "<dd>3 kWh</dd>" in next((site / "runs").glob("*ppo*seed1-*.html")).read_text()
    assert "Energy" not in next((site / "runs").glob("*sac*seed0-*.html")).read_text()
    shutil.rmtree(next(tmp_path.glob("*/*/ppo")))
    build.build(tmp_path, site)
    assert "Energy is not known" in (site / "cost.html").read_text()


def test_every_page_links_to_the_submission_service(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "runs", episodes=8)
    for url in ("/submissions", "https://example.org/s?a=1&b"):
        assert run_cli(monkeypatch, capsys, tmp_path / "runs", "--out", tmp_path / "site", "--submissions", url)[0] == 0
        for file in (tmp_path / "site").rglob("*.html"):
            assert Document(file.read_text()).urls.count(url) == 1, file
    build.build(tmp_path / "runs", tmp_path / "site")
    assert "Submissions" not in (tmp_path / "site" / "index.html").read_text()
    code, error = run_cli(
        monkeypatch, capsys, tmp_path / "runs", "--out", tmp_path / "site", "--submissions", "javascript:alert(1)"
    )
    assert (code, error.count("\n")) == (2, 1)
    assert "--submissions" in error


def test_rows_show_the_commands_that_made_them(site, made):
    row = next(r for r in made.results if r.task == "franka-reach" and r.entry.algo == "sac")
    task, index = (site / "tasks" / "franka-reach.html").read_text(), (site / "index.html").read_text()
    for run in row.runs:
        assert f"<code>{run.result['command']}</code>" in task
    assert "<summary>4 commands</summary>" in index  # two seeds on two tasks
    assert f"<code>{row.runs[1].result['command']}</code>" not in index  # three are shown
    assert "runs.csv" in index


def test_text_from_runs_cannot_become_markup(tmp_path):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'$\\frac{\0"
    for seed in range(2):
        for overrides in ({"agent.x": attack}, {"x": [attack, 1]}):
            told = {"command": attack, "cpu": attack, "packages": {attack[:64]: attack[:64]}}
            folder = write_run(tmp_path, seed=seed, overrides=overrides, provenance=told)
            (folder / "config.yaml").write_bytes(attack.encode(errors="replace"))
            result = json.loads((folder / "result.json").read_text())
            (folder / "result.json").write_text(json.dumps({**result, "command": attack, "device": attack}))
    folder = write_run(tmp_path, seed=5, perturbed=True)
    table = pq.read_table(folder / "episodes.parquet")
    names = [name.replace("joint_speed", "<script>alert(1)</script>") for name in table.column_names]
    pq.write_table(table.rename_columns(names), folder / "episodes.parquet")
    rehash(folder)
    write_unfinished(tmp_path, "failed", attack)
    for _ in range(2):  # a second time over the first
        site = build.build(tmp_path, tmp_path / "site").parent
    pages = sorted(site.rglob("*.html"))
    assert len([p for p in pages if "alert(1)" in p.read_text()]) >= 9
    for file in pages:
        document = Document(file.read_text())
        assert document.tags.count("script") <= 1, file
        assert "img" not in document.tags, file
        assert document.urls.count("x") == 0


def test_half_characters_and_deep_provenance_cost_their_run(tmp_path):
    deep = "\ud800"
    for _ in range(50):
        deep = {"deeper": deep}
    write_run(tmp_path, provenance={"assets": deep})
    write_run(tmp_path, "franka-reach", provenance={"cpu": "\ud800"})
    write_run(tmp_path, algo="sac")
    site = build.build(tmp_path, tmp_path / "site").parent
    assert len(list((site / "runs").iterdir())) == 1
    assert len(json.loads((site / "leaderboard.json").read_text())["skipped"]) == 2


def test_test_tasks_take_no_rank(tmp_path, one_task):
    """Nor does any other task that the suite has not: ranks are over a fixed list."""
    for seed in range(5):
        write_run(tmp_path, algo="ppo", seed=seed, skill=3, episodes=8)
        write_run(tmp_path, algo="sac", seed=seed, skill=1, episodes=8)
    before = [(r.entry, r.rank, r.unranked, r.score) for r in board.load(tmp_path).ranking]
    assert [rank for _, rank, _, _ in before] == [1, 2]
    for task in ("toy-reach", "made-up"):
        for algo in ("ppo", "dqn"):
            write_run(tmp_path, task, algo, skill=9, episodes=8)
    made = board.load(tmp_path)
    after = {r.entry: (r.entry, r.rank, r.unranked, r.score) for r in made.ranking}
    assert [after[row[0]] for row in before] == before
    assert [(r.entry.algo, r.unranked) for r in made.ranking] == [
        ("ppo", ""),
        ("sac", ""),
        ("dqn", "no task of the suite"),
    ]
    assert made.tasks == ("cartpole-balance", "made-up", "toy-reach")
    assert all(content for _, content in pages_of(made))


def test_a_rank_needs_every_task_of_the_suite(tmp_path):
    for seed in range(5):
        write_run(tmp_path, seed=seed, episodes=8)
    assert [(r.rank, r.unranked) for r in board.load(tmp_path).ranking] == [(None, "1 of 2 tasks")]


def edit_result(folder, **fields):
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("fields", [{"wall_time_s": 1e308}, {"evaluation_time_s": 1.7e308}, {"wall_time_s": 2**62}])
def test_sums_that_overflow_end_no_build(tmp_path, fields, monkeypatch):
    """Such numbers are refused where they are read; a page has to stand them nevertheless."""
    monkeypatch.setattr(runs, "check_result", lambda _: None)
    for seed in range(2):
        edit_result(write_run(tmp_path, seed=seed, episodes=8), **fields)
    write_run(tmp_path, algo="sac", episodes=8)
    site = build.build(tmp_path, tmp_path / "site").parent
    assert json.loads((site / "leaderboard.json").read_text())["skipped"] == []
    assert len(list((site / "runs").iterdir())) == 3


def test_returns_that_overflow_end_no_build(tmp_path):
    folder = write_run(tmp_path, episodes=8)
    write_run(tmp_path, algo="sac", episodes=8)
    table = pq.read_table(folder / "episodes.parquet")
    column = [1.7e308 if not ok else 1.0 for ok in table["success"].to_pylist()]
    pq.write_table(
        table.set_column(table.column_names.index("return"), "return", [column]), folder / "episodes.parquet"
    )
    rehash(folder)
    site = build.build(tmp_path, tmp_path / "site").parent
    assert "sac" in (site / "index.html").read_text()


def test_a_run_that_cannot_be_shown_is_left_out(tmp_path, monkeypatch, capsys):
    for task in TASKS:
        write_run(tmp_path, task, episodes=8)
    real = page.run_page

    def fail(run, submissions):
        if run.task == "franka-reach":
            raise ValueError("no \x1b page")
        return real(run, submissions)

    monkeypatch.setattr(page, "run_page", fail)
    made = board.load(tmp_path)
    site = build.write(made, tmp_path, tmp_path / "site").parent
    assert "left out 0.1.0/franka-reach" in capsys.readouterr().err
    assert [path.name for path in (site / "tasks").iterdir()] == ["cartpole-balance.html"]
    assert "it cannot be shown: no \ufffd page" in (site / "methods.html").read_text()
    monkeypatch.setattr(sys, "argv", ["build", str(tmp_path), "--out", str(tmp_path / "site"), "--strict"])
    assert build.main() == 1


def test_a_page_that_cannot_be_made_says_so(out, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(page, "_cost", fail)
    monkeypatch.setattr(page.perturbed, "robust_rows", fail)
    monkeypatch.setattr(page.drawings, "draw", fail)
    site = build.build(out, tmp_path / "site").parent
    said = capsys.readouterr().err
    assert "no page cost.html: by nothing" in said
    assert "no figures" in said
    assert "This page could not be made" in (site / "cost.html").read_text()
    assert "ppo" in (site / "index.html").read_text()


def test_an_entry_that_cannot_be_computed_costs_itself(out, monkeypatch):
    real = board.counts

    def fail(runs, engine):
        if runs[0].entry.algo == "sac":
            raise FloatingPointError("overflow")
        return real(runs, engine)

    monkeypatch.setattr(board, "counts", fail)
    made = board.load(out)
    assert {row.entry.algo for row in made.results} == {"ppo", "random"}
    assert [s.reason for s in made.skipped].count("it cannot be shown: overflow") == 4


def test_files_of_others_stay(tmp_path):
    write_run(tmp_path / "runs", episodes=8)
    for name in ("tasks/mine.html", "runs/mine.html", "mine.html"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text("mine")
    for _ in range(2):
        site = build.build(tmp_path / "runs", tmp_path / "site").parent
    assert [(site / name).read_text() for name in ("tasks/mine.html", "runs/mine.html", "mine.html")] == ["mine"] * 3
    (tmp_path / "keep.html").write_text("keep")
    for listed in (["../keep.html", "runs/../../keep.html", "mine.html", 3], {"a": 1}, "runs/x.html"):
        (site / "pages.json").write_text(json.dumps(listed))
        build.build(tmp_path / "runs", tmp_path / "site")
    assert (tmp_path / "keep.html").exists()
    assert (site / "mine.html").exists()


def test_spreadsheets_find_no_formula(tmp_path):
    for i, start in enumerate("=+-@\t\r"):
        folder = write_run(tmp_path, seed=i, episodes=8, overrides={"x": start})
        edit_result(folder, device=f"{start}1+cmd", command=f"{start}HYPERLINK(1)")
    site = build.build(tmp_path, tmp_path / "site").parent
    rows = list(csv.DictReader(io.StringIO((site / "runs.csv").read_bytes().decode(), newline="")))
    assert len(rows) == 6
    for row in rows:
        assert row["device"][:2] in [f"'{start}" for start in "=+-@\t\r"]
        assert row["command"].startswith("'")
        assert float(row["wall_time_s"]) > 0
    exact = pq.read_table(site / "runs.parquet")["device"].to_pylist()
    assert sorted(text[0] for text in exact) == sorted("=+-@\t\r")


def test_an_entry_has_one_colour_on_the_whole_site(tmp_path):
    """Whatever order each figure's lines have."""
    for task, best in zip(TASKS, ("ppo", "sac"), strict=True):
        for budget in ("smoke", "quick"):
            for algo in ("ppo", "sac"):
                write_run(tmp_path, task, algo, skill=4 if algo == best else 1, budget=budget, perturbed=True)
    made = board.load(tmp_path)
    found = {}
    for name, text in pages_of(made):
        if name.endswith(".html"):
            for colour, algo in re.findall(r'stroke="var\(--series-(\d)\)".*?<span>(\w+)', text):
                found.setdefault(algo, set()).add(colour)
    assert sorted(found) == ["ppo", "sac"]
    assert sorted(len(colours) for colours in found.values()) == [1, 1]
    assert found["ppo"] != found["sac"]


def test_the_page_of_a_submission_says_whose_it_is(tmp_path):
    """And shows no command that cannot work, nor a training that nobody saw as if it had been seen."""
    told = {"submitter": "A lab", "title": "My & PPO", "description": "how it was made", "contact": "me@example.org"}
    links = {"code": "https://example.org/code", "paper": "javascript:alert(1)"}
    for number, division in enumerate(("open", "closed")):
        write_run(tmp_path / str(number), episodes=8)
        manifest = tmp_path / str(number) / "manifest.json"
        manifest.write_text(json.dumps({"division": division, **told, **links}))
    write_run(tmp_path / "own", episodes=8)
    texts = [text for name, text in pages_of(board.load(tmp_path)) if name.startswith("runs/")]
    submitted = [text for text in texts if "A lab" in text]
    assert len(submitted) == 2
    for text in submitted:
        for shown in ("My &amp; PPO", "how it was made", 'href="https://example.org/code"'):
            assert shown in text
        for hidden in ("javascript", "example.org<", "me@example.org", "suite.reproduce"):
            assert hidden not in text.replace("https://example.org/code</a>", "")
    assert ["as stated by the submitter" in text for text in sorted(submitted)].count(True) == 1
    assert [text for text in texts if "suite.reproduce" in text] == [text for text in texts if text not in submitted]


def test_figures_without_anything_to_show_are_left_out(tmp_path):
    write_run(tmp_path, "cartpole-balance", "ppo")
    write_run(tmp_path, "franka-reach", "sac")
    index = dict(pages_of(board.load(tmp_path)))["index.html"]
    assert "Performance profile" in index
    assert "Probability of improvement" not in index


def test_pages_of_runs_that_are_gone_are_removed(tmp_path):
    keep, gone = tmp_path / "keep", tmp_path / "gone"
    write_run(keep)
    write_run(gone, "franka-reach")
    site = build.build(tmp_path, tmp_path / "site").parent
    shutil.rmtree(gone)
    build.build(tmp_path, site)
    assert [f.name.split("-")[0] for f in (site / "runs").iterdir()] == ["cartpole"]
    assert [f.name for f in (site / "tasks").iterdir()] == ["cartpole-balance.html"]


def test_curves_take_their_colours_from_the_page(site):
    figures = [
        figure
        for file in ("index.html", "grades.html", "tasks/franka-reach.html")
        for figure in re.findall(r"<figure.*?</figure>", (site / file).read_text(), re.DOTALL)
    ]
    assert len(figures) > 6
    for figure in figures:
        assert "var(--" in figure
        assert not re.search(r"(stroke|fill): #", figure)


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr("suite.execute.devices.cores", lambda: 2)
    yield
    parallel._pool().shutdown()
    parallel._pool.cache_clear()


def test_processes_give_the_same_as_one(out, made, monkeypatch, two_processes):
    for module in ("data.runs", "site.page"):
        monkeypatch.setattr(f"leaderboard.{module}.PARALLEL_FROM", 1)
    again = board.load(out)
    assert [row.score for row in again.ranking] == [row.score for row in made.ranking]
    assert [run.path for run in again.runs] == [run.path for run in made.runs]
    assert export.to_json(again) == export.to_json(made)


def test_what_fails_in_a_process_fails_here(two_processes):
    with pytest.raises(ValueError, match="invalid literal"):
        list(parallel.each(int, [("1",), ("x",)], 1))


def test_the_terminal_table_has_every_row(made):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table.render(made))
    text = console.export_text()
    assert "(none, r0, ovphysx)" in text
    assert text.count("cartpole-balance") == text.count("franka-reach") == 1
    assert "agent.gamma=0.9" in text
    row = next(r for r in made.results if r.entry.algo == "sac")
    assert f"{100 * row.cells[0].success.low:.0f}–{100 * row.cells[0].success.high:.0f}" in text
    assert "nan" not in text


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
    for source, target, expected in cases:
        code, error = run_cli(monkeypatch, capsys, source, "--out", target)
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
