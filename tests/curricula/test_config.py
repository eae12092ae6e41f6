"""Settings of the teachers: what cannot be used is refused, and reading about them is fast."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import curricula
import tasks
from curricula import config, registry

SPEC = tasks.get("toy-reach")


@pytest.mark.parametrize(
    ("name", "settings", "level", "said"),
    [
        (
            "adr",
            {"target": "factors", "factors": ["masss"]},
            "r3",
            "'masss' is not declared by task toy-reach",
        ),
        ("adr", {"target": "both", "factors": ["drag"]}, "r3", "'drag' is held out of training"),
        ("adr", {"factors": ["mass"]}, "r3", "with target=difficulty no factor is moved"),
        ("plr", {"target": "both"}, "r1", "use --randomization r3"),
        ("plr", {"score": "regret"}, "r0", "score=regret: expected one of learnability, advantage"),
        ("plr", {"target": "all"}, "r3", "target=all: expected one of difficulty, factors, both"),
        ("adr", {"promote": 0.3, "demote": 0.5}, "r0", "promote=0.3 has to be above demote=0.5"),
        ("staged", {"promote": 0.5, "demote": 0.5}, "r0", "promote=0.5 has to be above demote=0.5"),
        ("reverse", {"promote": 1.5}, "r0", "promote=1.5: expected between 0 and 1"),
        ("spdl", {"divergence": 0.0}, "r0", "divergence=0.0: expected positive"),
        ("alp_gmm", {"components": 1}, "r0", "components=1: expected at least 2"),
        ("alp_gmm", {"neighbours": 4000}, "r0", "neighbours=4000: expected at most half of window=4096"),
        ("alp_gmm", {"fit_every": 8192}, "r0", "fit_every=8192: expected at most window=4096"),
        ("none", {"grade": "g6"}, "r0", "grade=g6: expected one of g1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(name, settings, level, said):
    cfg = OmegaConf.merge(config.load(name), settings)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        config.check(cfg, SPEC, level)
    assert said in str(error.value)


def test_an_unknown_teacher_is_named():
    with pytest.raises(ValueError, match="unknown teacher 'sweep'; valid: none, uniform"):
        config.load("sweep")


def test_a_task_without_factors_has_none_to_move():
    cfg = OmegaConf.merge(config.load("adr"), {"target": "factors"})
    with pytest.raises(ValueError, match="declares no factor that training may move"):
        config.check(cfg, dataclasses.replace(SPEC, factors=()), "r3")


def test_reading_about_the_teachers_imports_no_torch():
    code = "import sys, curricula; [curricula.config.load(n) for n in curricula.names()]; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("name", curricula.names())
def test_every_teacher_is_described_and_short(name):
    about = registry.get(name)
    assert about.summary
    assert "arXiv" in about.paper or not about.paper  # one of your own has none
    module = about.teacher.partition(":")[0].replace(".", "/") + ".py"
    assert len((Path(curricula.__file__).parents[1] / module).read_text().splitlines()) < 150
