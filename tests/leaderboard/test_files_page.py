"""docs/files.md, and that every field of a file is explained in it."""

from pathlib import Path

import pytest

from leaderboard.data import files_page, schema
from suite.runs import schemas

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def test_page_is_what_the_models_say():
    assert files_page.markdown() == PAGE.read_text(encoding="utf-8"), "run `python -m leaderboard.data.files_page`"


@pytest.mark.parametrize("module", [schemas, schema], ids=["run", "bundle"])
def test_every_field_is_explained(module):
    for model in vars(module).values():
        if isinstance(model, type) and issubclass(model, schemas.Model) and model.__module__ == module.__name__:
            rows = files_page._own(model)
            unexplained = [name for name, row in rows.items() if not row[-1]]
            assert unexplained == [] or "ByGrade" in model.__name__, model
