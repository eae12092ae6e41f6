"""Whether a curriculum helped: the metrics on known curves, and the comparison of run directories."""

import json
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard import curricula
from leaderboard.stats import curve_metrics
from suite.errors import UserError, exit_code
from tasks.spec import GRADES
from tests.helpers.synthetic_runs import rehash, write_run

STEPS = np.linspace(0, 1000, 11)


def linear(slope):
    """Success that grows with the training's share, the same at every grade."""
    return np.clip(np.outer(slope * STEPS / 1000, np.ones(5)), 0, 1)


def test_time_to_threshold_is_interpolated_and_missing_where_never_reached():
    assert curve_metrics.to_threshold(STEPS, linear(1.0), 0.55) == pytest.approx(550)
    assert curve_metrics.to_threshold(STEPS / 10, linear(2.0), 0.5) == pytest.approx(25)
    assert math.isnan(curve_metrics.to_threshold(STEPS, linear(0.4), 0.5))
    assert curve_metrics.to_threshold(STEPS, linear(0.0) + 0.7, 0.5) == 0.0


def test_area_jump_start_and_asymptote():
    assert curve_metrics.area(STEPS, linear(1.0)) == pytest.approx(0.5)
    assert curve_metrics.area(STEPS, linear(2.0)) == pytest.approx(0.75)
    assert curve_metrics.jump_start(STEPS, linear(1.0)) == pytest.approx(0.1)
    assert curve_metrics.asymptote(STEPS, linear(1.0)) == pytest.approx(0.9)  # points at 800, 900 and 1000


def test_forgetting_counts_the_lower_grades_and_transfer_the_higher():
    success = np.zeros((4, 5))
    success[:, 0] = (0.2, 0.9, 0.8, 0.5)
    success[:, 1] = (0.0, 0.2, 0.4, 0.6)
    success[:, 3:] = ((0.0, 0.0), (0.9, 0.9), (0.1, 0.0), (0.5, 0.1))
    assert curve_metrics.forgetting(success) == pytest.approx(0.2)
    assert curve_metrics.transfer(success) == pytest.approx(0.3)


def write_curve(folder, success, seconds_per_step=0.01, teacher=0.02):
    rows = len(STEPS)
    columns = {
        "env_steps": np.repeat(STEPS.astype(int), 5),
        "wall_time_s": np.repeat(STEPS * seconds_per_step, 5),
        "teacher_time_s": np.repeat(STEPS * seconds_per_step * teacher, 5),
        "grade": list(GRADES) * rows,
        "episodes": np.full(rows * 5, 100),
        "success": success.flatten(),
        "return_mean": np.zeros(rows * 5),
    }
    pq.write_table(pa.table(columns), folder / "curve.parquet")
    rehash(folder)


@pytest.fixture
def root(tmp_path):
    for seed, bonus in enumerate((0.0, 0.1)):
        write_curve(write_run(tmp_path, seed=seed, curriculum="none"), linear(0.6 + bonus))
        write_curve(write_run(tmp_path, seed=seed, curriculum="adr"), linear(1.0 + bonus))
        changed = {"curriculum.step": 0.2, "train.curve": True}
        write_curve(write_run(tmp_path, seed=seed, curriculum="adr", overrides=changed), linear(0.4))
    write_curve(write_run(tmp_path, seed=1, curriculum="uniform"), linear(0.9))
    write_run(tmp_path, seed=0, algo="a2c")  # has no curve
    return tmp_path


def test_runs_are_compared_with_the_references_of_the_same_seeds(root):
    first, second = curricula.load(root, 0.5)
    assert first.setting == "ppo r0 ovphysx smoke"
    assert [row.curriculum for row in first.rows] == ["uniform", "none", "adr"]
    adr = first.rows[2]
    assert adr.seeds == (0, 1)
    assert [m.steps_to_threshold for m in adr.metrics] == pytest.approx([500, 454.5], abs=0.1)
    assert [m.seconds_to_threshold for m in adr.metrics] == pytest.approx([5, 4.545], abs=0.001)
    assert adr.metrics[0].teacher_share == pytest.approx(0.02)
    assert adr.differences["none"].area == pytest.approx((0.5 - 0.3 + 0.545 - 0.35) / 2, abs=1e-3)
    uniform = curve_metrics.area(STEPS, linear(1.1)) - curve_metrics.area(STEPS, linear(0.9))
    assert adr.differences["uniform"].area == pytest.approx(uniform)  # seed 1 alone
    assert set(first.rows[0].differences) == {"none"}
    assert second.setting == "ppo r0 ovphysx smoke train.curve=True"  # another training: not mixed with the others
    assert [row.curriculum for row in second.rows] == ["adr curriculum.step=0.2"]
    assert second.rows[0].differences == {}


def test_the_command_prints_tables_json_and_a_figure(root, tmp_path, capsys):
    assert curricula.main([str(root), "--figure", str(tmp_path / "curves.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cartpole-balance: ppo r0 ovphysx smoke (success and area in percent)"
    (adr,) = [line for line in lines if line.startswith("| adr | 2 |")]
    assert adr.endswith("| 2.00 % | +19.8 | +9.5 |")
    (slow,) = [line for line in lines if line.startswith("| adr curriculum.step=0.2 |")]
    assert "| never | never |" in slow
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert curricula.main([str(root), "--json", "--threshold", "0.9"]) == 0
    first, _ = json.loads(capsys.readouterr().out)
    assert first["threshold"] == 0.9
    assert first["rows"][2]["seeds"]["0"]["steps_to_threshold"] == pytest.approx(900)
    assert first["rows"][1]["seeds"]["0"]["steps_to_threshold"] is None


def test_damaged_curves_are_left_out(root):
    for path in root.rglob("adr-r0-ovphysx-smoke/seed*/curve.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    first, _ = curricula.load(root, 0.5)
    assert [row.curriculum for row in first.rows] == ["uniform", "none"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "cannot read runs from nowhere"),
        ([".", "--threshold", "2"], "--threshold must be above 0"),
        ([".", "--figure", "curves.doc"], "has to end in .png, .svg or .pdf"),
    ],
)
def test_mistakes_are_one_line(argv, said, capsys):
    assert exit_code("leaderboard.curricula", lambda: curricula.main(argv)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_runs_without_a_curve_say_how_to_get_one(tmp_path):
    write_run(tmp_path)
    with pytest.raises(UserError, match=r"train\.curve=true"):
        curricula.main([str(tmp_path)])


def test_it_imports_no_torch():
    code = "import sys, leaderboard.curricula; print({'torch', 'matplotlib', 'curricula'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
