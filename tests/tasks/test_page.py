"""docs/tasks.md and its pictures."""

from pathlib import Path

import pytest

import tasks
from suite import list as command
from suite.errors import UserError

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_what_the_declarations_say(tmp_path):
    assert command.main(["--markdown", str(tmp_path / "tasks.md")]) == 0
    assert (tmp_path / "tasks.md").read_text() == (DOCS / "tasks.md").read_text(), (
        "run `gradus list --markdown docs/tasks.md`"
    )


def test_a_folder_is_no_page(tmp_path):
    with pytest.raises(UserError, match="name a file"):
        command.main(["--markdown", str(tmp_path)])


@pytest.mark.parametrize("name", tasks.names())
def test_task_has_a_small_picture(name):
    picture = DOCS / "tasks" / f"{name}.png"
    assert picture.is_file(), f"run `gradus render --task {name} --grade g3 --out {picture} --size 480x320`"
    assert 500 < picture.stat().st_size < 60_000
