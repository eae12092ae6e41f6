"""Results as a Markdown page: of made-up runs, and the published ones."""

import json
import re

import pytest
from PIL import Image

from leaderboard import results
from leaderboard.board import board
from suite.errors import exit_code
from tests.helpers.synthetic_runs import write_run


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for task in ("cartpole-balance", "franka-reach"):
        for seed in range(3):
            write_run(folder, task, "ppo", seed, skill=3, engines=("newton_mjwarp",), perturbed=True)
        write_run(folder, task, "sac", randomization="r2", skill=1, overrides={"agent.name": "a|b"})
    write_run(folder, "franka-reach", "random", skill=-99, trained=False, perturbed=True)
    write_run(folder, "franka-reach", "ppo", budget="full", skill=5)
    return folder


def test_page_and_pictures(out, tmp_path, capsys):
    page = tmp_path / "results.md"
    assert results.main([str(out), "--out", str(page)]) == 0
    made = [page, tmp_path / "results-full.png", tmp_path / "results-smoke.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in made]
    assert sorted(tmp_path.iterdir()) == sorted(made)
    text = page.read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = table.splitlines()
        assert len({line.count("|") for line in lines}) == 1
    assert text.index("## `full`") < text.index("## `smoke`")
    assert "| `cartpole-balance` | ppo none r0" not in text  # what all share is not said in a row
    assert "| `cartpole-balance` | ppo r0 | 3 |" in text
    assert "sac r2 name=a/b | 1 |" in text
    assert text.count(" at g3 |") == 2
    assert "| `franka-reach` | random r0 | 1 | 0 |" in text  # in the first table; nothing can be retained of no success
    assert "nan" not in text
    assert all(Image.open(picture).size[0] > 300 for picture in made[1:])
    first = [path.read_bytes() for path in made]
    assert results.main([str(out), "--out", str(page)]) == 0
    assert [path.read_bytes() for path in made] == first


def test_commands_do_not_say_where_runs_went(tmp_path):
    for seed, where in enumerate(("--out /data/a --jobs-per-gpu 2", "--no-wait --wandb disabled --out=b")):
        result = write_run(tmp_path, "ant-run", "ppo", seed) / "result.json"
        command = f"python -m suite.run --task ant-run {where} --algo ppo train.curve=true"
        result.write_text(json.dumps(json.loads(result.read_text()) | {"command": command}))
    assert results.main([str(tmp_path), "--out", str(tmp_path / "page.md")]) == 0
    commands = (tmp_path / "page.md").read_text().split("## Commands\n\n")[1]
    assert commands == "    python -m suite.run --task ant-run --algo ppo train.curve=true    # runs: 2\n"


def test_entries_on_few_tasks_have_no_panel(tmp_path):
    def width():
        results.picture(sorted(board.load(tmp_path).results, key=lambda row: row.entry), tmp_path / "picture.png")
        return Image.open(tmp_path / "picture.png").size[0]

    for task in ("cartpole-balance", "franka-reach", "go2-velocity"):
        write_run(tmp_path, task, "ppo")
    alone = width()
    write_run(tmp_path, "go2-velocity", "sac")
    assert width() == alone
    write_run(tmp_path, "franka-reach", "sac")
    assert width() > alone


@pytest.mark.parametrize(("runs", "page", "said"), [
    ("empty", "results.md", "no complete run"),
    ("nothing", "results.md", "cannot read runs"),
    ("empty", "results.html", "has to be a Markdown file"),
    ("empty", "nowhere/results.md", "in a folder that is there"),
])  # fmt: skip
def test_bad_input(tmp_path, capsys, runs, page, said):
    (tmp_path / "empty").mkdir()
    argv = [str(tmp_path / runs), "--out", str(tmp_path / page)]
    assert exit_code("leaderboard.results", lambda: results.main(argv)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / page).exists()
