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


def test_the_counted_lines_are_those_of_the_files():
    table = PAGE.read_text(encoding="utf-8").partition("## What each costs")[2].partition("\n## ")[0]
    told = re.findall(r"^\| .*\| (\d) \| (\d+(?: \+ \d+)?) \|", table, re.M)
    lines = {path: len((EXAMPLE / path).read_text(encoding="utf-8").splitlines()) for path in SHOWN}
    pairs = [("touch", "touch_mdp"), ("sticky",), ("clipped_a2c", "clipped_update"), ("sweep", "sweep_teacher")]
    pairs += [("dead_zone", "dead_zone_effect"), ("explicit", "explicit_step")]
    counted = [[lines[f"src/gradus_plugin_example/{name}.py"] for name in names] for names in pairs]
    assert told == [(str(len(counts)), " + ".join(map(str, counts))) for counts in counted]
