"""What a teacher did, on the page of a run: from curriculum.parquet as the suite writes it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.data import curriculum_log, runs
from leaderboard.site.render import run_page
from suite.runs.rundir import sha256
from suite.untrusted import Unusable
from tests.helpers.synthetic_runs import rehash, write_run


def table(rows=100, **changes):
    """Episodes start ever harder, and succeed in the easier half; the wind's range grows."""
    columns = {"env_steps": np.arange(1, rows + 1) * 1000}
    at = np.arange(rows) * 10 // rows
    for i in range(10):
        columns[f"started_bin_{i}"] = np.where(at == i, 8.0, 0.0)
        columns[f"episodes_bin_{i}"] = np.where(at == i, 4.0, 0.0)
        columns[f"success_bin_{i}"] = np.where(at == i, float(i < 5), np.nan)
    columns |= {"low.<wind>": np.zeros(rows), "high.<wind>": np.linspace(0, 4, rows)}
    columns |= {"low.mass": np.ones(rows), "high.mass": np.ones(rows)}
    return pa.table({key: value for key, value in (columns | changes).items() if value is not None})


def read(folder, **changes):
    pq.write_table(table(**changes), folder / "curriculum.parquet")
    return curriculum_log.read(
        folder / "curriculum.parquet", {"curriculum_sha256": sha256(folder / "curriculum.parquet")}
    )


def test_a_course_has_shares_and_rates_by_stretch(tmp_path):
    found = read(tmp_path)
    assert found.started.shape == (curriculum_log.STRETCHES, curriculum_log.BINS)
    assert found.started.sum(axis=1) == pytest.approx(1.0)
    assert found.started[0].argmax() == 0
    assert found.started[-1].argmax() == 9
    assert found.success[0, 0] == 1.0
    assert found.success[-1, 9] == 0.0
    assert np.isnan(found.success[0, 9])
    assert found.ranges["<wind>"][1][-1] == pytest.approx(4.0, abs=0.1)
    assert read(tmp_path, rows=3).started.shape == (3, curriculum_log.BINS)
    assert read(tmp_path, rows=0) is None


@pytest.mark.parametrize(("changes", "why"), [
    ({"started_bin_3": None}, 'no column "started_bin_3"'),
    ({"high.mass": None}, 'no column "high.mass"'),
    ({"started_bin_3": np.full(100, -1.0)}, "out of range"),
    ({"low.mass": np.full(100, np.inf)}, "out of range"),
    ({"env_steps": None}, 'no column "env_steps"'),
])  # fmt: skip
def test_a_table_of_another_kind_is_refused(tmp_path, changes, why):
    with pytest.raises(Unusable, match=why):
        read(tmp_path, **changes)


def test_the_page_of_a_run_draws_what_moved(tmp_path):
    def page(curriculum, **changes):
        folder = write_run(tmp_path / curriculum, "toy-reach", "ppo", curriculum=curriculum)
        pq.write_table(table(**changes), folder / "curriculum.parquet")
        rehash(folder)
        run, notes = runs.read_run(folder, "run")
        return run_page(run)[1], notes

    text, notes = page("adr")
    assert not notes
    assert "<h2>Curriculum</h2>" in text
    assert "&lt;wind&gt;" in text
    assert "<wind>" not in text
    assert ">mass<" not in text  # which stays where it is
    assert text.count("<rect") > curriculum_log.STRETCHES
    assert "<h2>Curriculum</h2>" not in page("none")[0]
    text, notes = page("uniform", started_bin_3=None)
    assert "<h2>Curriculum</h2>" not in text
    assert "started_bin_3" in notes[0].reason
