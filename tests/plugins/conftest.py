"""The example plugin, installed for the tests of this folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import plugin
from tests.helpers.plugin import TRAIN


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with the example plugin in it: where CI has built and installed it, or a copy of its files."""
    if built := os.environ.get("GRADUS_TEST_PLUGIN"):
        return Path(built)
    return plugin.install(plugin.EXAMPLE, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def command(site):
    """Run `python -m MODULE ARGUMENTS...` where the plugin is installed; returns exit code, output and errors."""

    def run(*arguments, sites=(site,)):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=plugin.environment(*sites),
            timeout=600,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def trained(command, tmp_path_factory):
    """The run directory of a training with the plugin's algorithm and curriculum."""
    out = tmp_path_factory.mktemp("runs")
    code, _, errors = command("suite.run", *TRAIN, "--algo", "clipped-a2c", "--curriculum", "sweep", "--out", out)
    assert code == 0, errors
    (result,) = out.rglob("result.json")
    return result.parent
