"""docs/extending.md shows the files of the example plugin as they are."""

import re

import pytest

from tests.helpers.plugin import EXAMPLE, ROOT

PAGE = ROOT / "docs" / "extending.md"
BLOCKS = dict(re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S))
SHOWN = sorted(
    path.relative_to(EXAMPLE).as_posix()
    for path in EXAMPLE.rglob("*")
    if path.suffix in (".py", ".toml") and path.name != "__init__.py"
)


@pytest.mark.parametrize("name", sorted({*SHOWN, *BLOCKS}))
def test_a_block_is_a_file_of_the_plugin(name):
    assert BLOCKS[name] == (EXAMPLE / name).read_text(encoding="utf-8")
