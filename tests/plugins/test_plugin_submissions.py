"""Runs with parts of another package: on the page, and in a bundle that is verified."""

import json

import pytest

from tests.helpers.made_runs import TEXTS

WHOSE = "gradus-plugin-example 0.1.0"


@pytest.fixture(scope="module")
def bundle(command, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    texts = [text for name, value in TEXTS.items() for text in (f"--{name}", value)]
    code, _, errors = command("leaderboard.submit", trained, "--out", out, "--division", "open", *texts)
    assert code == 0, errors
    return out


def test_its_row_is_in_the_open_division_with_the_package(command, trained, tmp_path):
    """The page is built without the package, too."""
    for sites in ({}, {"sites": ()}):
        code, _, errors = command("leaderboard.build", trained, "--out", tmp_path, **sites)
        assert code == 0, errors
        index = (tmp_path / "index.html").read_text()
        assert "smoke-open" in index
        assert f"with {WHOSE}" in index
        (page,) = (tmp_path / "runs").glob("*.html")
        assert f"<dt>Algorithm</dt><dd>clipped-a2c, of {WHOSE}</dd>" in page.read_text()
        assert f"<dt>Curriculum</dt><dd>sweep, of {WHOSE}</dd>" in page.read_text()


def test_the_closed_division_does_not_take_it(command, trained, tmp_path):
    texts = [text for name, value in TEXTS.items() for text in (f"--{name}", value)]
    code, _, errors = command("leaderboard.submit", trained, "--out", tmp_path / "b.zip", *texts)
    assert code == 2
    assert f"the closed division has the suite's own parts, not algorithm clipped-a2c of {WHOSE}" in errors


def test_a_verifier_with_the_package_accepts_the_bundle(command, bundle, tmp_path):
    out = tmp_path / "verdict.json"
    code, printed, errors = command("leaderboard.verify", bundle, "--full", "--device", "cpu", "--out", out)
    assert code == 0, printed + errors
    assert json.loads(out.read_text())["decision"] == "accepted"


def test_a_verifier_without_the_package_names_it(command, bundle, tmp_path):
    out = tmp_path / "verdict.json"
    code, _, _ = command("leaderboard.verify", bundle, "--device", "cpu", "--out", out, sites=())
    assert code == 1
    assert f"algorithm 'clipped-a2c' is of {WHOSE}, which is not installed" in json.loads(out.read_text())["reason"]
