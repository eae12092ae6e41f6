"""The example plugin, installed for the tests of this folder."""

import subprocess
import sys

import pytest

from tests.helpers import plugin


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with the example plugin in it, as pip would install it."""
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
