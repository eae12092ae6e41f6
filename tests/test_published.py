"""The published results: whole, and what the documentation shows of them."""

from pathlib import Path

import pytest

from leaderboard import build, results
from suite import reproduce
from suite.runs.rundir import read_json

ROOT = Path(__file__).parents[1]
COMMAND = "gradus results leaderboard/published --out docs/results.md"


@pytest.fixture(scope="module")
def board():
    return build.read(ROOT / "leaderboard" / "published")


def test_every_published_run_counts(board, tmp_path):
    assert board.runs
    assert not board.skipped
    assert build.write(board, ROOT / "leaderboard" / "published", tmp_path).is_file()


def test_page_of_results_is_of_these_runs(board, tmp_path):
    made, *pictures = results.write(board, Path("leaderboard/published"), tmp_path / "results.md")
    shown = ROOT / "docs" / "results.md"
    assert made.read_text().replace(str(made), "docs/results.md") == shown.read_text(), f"run `{COMMAND}`"
    assert all(shown.with_name(picture.name).is_file() for picture in pictures)
    assert COMMAND in (ROOT / "README.md").read_text()


def test_published_runs_are_what_their_commands_give_today():
    files = sorted((ROOT / "leaderboard" / "published").glob("runs/**/result.json"))
    assert files
    for file in files:
        reproduce.check_recorded(file.parent, reproduce.config_of(read_json(file)))
