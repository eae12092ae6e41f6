"""What is wrong with a package is said in one line that names it and its version, before anything slow starts."""

from dataclasses import dataclass

import pytest

from baselines.algorithms.definition import AlgorithmDef
from baselines.algorithms.sac import SAC
from curricula.builtin import ADR
from curricula.definition import TeacherConfig, TeacherDef
from tests.helpers import plugin

RUN = ("suite.run", "--task", "toy-reach", "--budget", "smoke", "--device", "cpu", "--dry-run")
SWEEP = "gradus_plugin_example.sweep:SWEEP"


@pytest.mark.parametrize(
    ("group", "name", "text", "said"),
    [
        ("algorithms", "ppo", "MINE = 1", "algorithm 'ppo' of other 2.0 is there already, from Gradus; uninstall one"),
        ("algorithms", "mine", "MINE = {}", "algorithm 'mine' of other 2.0 (other:MINE) is a dict, not a AlgorithmDef"),
        ("algorithms", "mine", "1 / 0", "cannot be imported from other:MINE: ZeroDivisionError"),
        ("algorithms", "mine", "from no_such import MINE", "cannot be imported from other:MINE: ModuleNotFoundError"),
        (
            "algorithms",
            "mine",
            "from baselines.algorithms.sac import SAC as MINE",
            "(other:MINE) says that its name is 'sac'",
        ),
        (
            "algorithms",
            "zero",
            "import dataclasses as d; from baselines.algorithms.sac import SAC; MINE = d.replace(SAC, name='zero')",
            "(other:MINE) has the name of a reference policy",
        ),
        ("curricula", "adr", "MINE = 1", "teacher 'adr' of other 2.0 is there already, from Gradus"),
        ("curricula", "mine", "MINE = 'x'", "teacher 'mine' of other 2.0 (other:MINE) is a str, not a TeacherDef"),
    ],
)
def test_a_mistake_of_a_package(command, tmp_path, group, name, text, said):
    (tmp_path / "other.py").write_text(text)
    plugin.describe(tmp_path, "other", "2.0", {f"gradus.{group}": {name: "other:MINE"}})
    asked = {"algorithms": "ppo", "curricula": "uniform"} | {group: name}
    chosen = ("--algo", asked["algorithms"], "--curriculum", asked["curricula"], "--out", tmp_path / "runs")
    code, _, errors = command(*RUN, *chosen, sites=(tmp_path,))
    assert (code, errors.count("\n")) == (2, 1), errors
    assert said in errors


def test_two_packages_with_one_name(command, site, tmp_path):
    plugin.describe(tmp_path, "other", "2.0", {"gradus.curricula": {"sweep": SWEEP}})
    code, _, errors = command(*RUN, "--algo", "ppo", "--out", tmp_path / "runs", sites=(site, tmp_path))
    assert (code, errors.count("\n")) == (2, 1), errors
    assert all(name in errors for name in ("'sweep'", "gradus-plugin-example 0.1.0", "other 2.0"))


def test_a_broken_part_stops_only_what_uses_it(command, tmp_path):
    plugin.describe(tmp_path, "other", "2.0", {"gradus.algorithms": {"mine": "no_such:MINE"}})
    code, _, errors = command(*RUN, "--algo", "ppo", "--out", tmp_path / "runs", sites=(tmp_path,))
    assert code == 0, errors


def test_a_part_without_its_package_is_an_unknown_name(command, tmp_path):
    code, _, errors = command(*RUN, "--algo", "clipped-a2c", "--out", tmp_path / "runs", sites=())
    assert (code, errors.count("\n")) == (2, 1), errors
    assert "unknown algorithm 'clipped-a2c'" in errors


@dataclass
class Open(ADR.schema):
    """A number without a rule."""

    scale: float = 1.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": TeacherConfig}, "its schema has to be a subclass of OffPolicyConfig"),
        ({"on_policy": True}, "its schema has to be a subclass of OnPolicyConfig"),
        ({"exploration": "noise"}, "exploration is 'noise', expected one of gaussian, epsilon_greedy, policy"),
        ({"exploration": "gaussian"}, "SACConfig has no field noise_max"),
        ({"squash": "bounded"}, "SACConfig has no field bounded"),
        ({"discrete": True}, "epsilon_greedy is for discrete actions, and only it"),
    ],
)
def test_an_algorithm_that_leaves_something_open(changes, said):
    with pytest.raises(ValueError, match=rf"^algorithm sac: {said}"):
        AlgorithmDef(**vars(SAC) | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": int}, "its schema has to be a subclass of TeacherConfig"),
        ({"schema": Open}, "Open.scale does not say which values it takes"),
        ({"teacher": "somewhere"}, "'somewhere' is not module:class"),
        ({"summary": ""}, "expected a summary of one line"),
    ],
)
def test_a_teacher_that_leaves_something_open(changes, said):
    with pytest.raises(ValueError, match=f"^teacher adr: {said}"):
        TeacherDef(**vars(ADR) | changes)
