"""What stands about the project in files of other programs agrees with the project."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import suite

ROOT = Path(__file__).parents[1]
PACKAGES = ("tasks", "curricula", "baselines", "suite", "leaderboard", "gradus")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def read(name):
    return yaml.safe_load(text(name))


def requirements():
    """Every requirement of the project and of its extras."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    return [found for found in map(Requirement, lines) if found.name != "gradus"]


def pinned(lines):
    """`{name: version}` of lines `name==version`."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        found[canonicalize_name(requirement.name)] = Version(pin.version)
    return found


CONSTRAINTS = pinned(line for line in text("constraints.txt").splitlines() if not line.startswith("#"))


# --- the version


def test_the_version_stands_in_the_suite_alone():
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert ROOT / PROJECT["tool"]["hatch"]["version"]["path"] == Path(suite.__file__)


def test_citation_and_changelog_are_of_this_version():
    assert read("CITATION.cff")["version"] == suite.__version__
    releases = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", text("CHANGELOG.md"), re.M)
    assert releases[0] == ("Unreleased", "")
    assert releases[1] == (suite.__version__, read("CITATION.cff")["date-released"])


def test_citation_has_the_licence_of_the_project():
    assert read("CITATION.cff")["license"] == PROJECT["project"]["license"]


# --- dependencies


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_tested_version_is_in_the_range(requirement):
    assert requirement.specifier.contains(CONSTRAINTS[canonicalize_name(requirement.name)])


def test_what_uv_installs_is_what_constraints_name():
    assert pinned(PROJECT["tool"]["uv"]["constraint-dependencies"]).items() <= CONSTRAINTS.items()


def test_a_range_begins_at_what_is_tested():
    for line in PROJECT["project"]["dependencies"]:
        requirement = Requirement(line)
        lower = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
        assert lower == [CONSTRAINTS[canonicalize_name(requirement.name)]], line


# --- packages


def test_the_packages_are_typed_and_in_the_wheel():
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(PACKAGES) <= set(shipped)
    assert all((ROOT / package / "py.typed").is_file() for package in shipped)


# --- continuous integration, hooks, containers


def libraries(line):
    return set(re.findall(r"\blib[a-z][\w-]*\d\b", line))


def test_the_workflow_runs_the_two_parts_of_ci():
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    steps = [step.get("run", "") for step in job["steps"]]
    assert "bash .ci/run ${{ matrix.part }}" in steps
    usage = subprocess.run(["bash", ".ci/run", "?"], cwd=ROOT, capture_output=True, text=True)
    assert usage.returncode == 2
    assert usage.stderr.strip() == f"usage: .ci/run [{'|'.join(job['strategy']['matrix']['part'])}]"


def test_ci_runs_the_tests_as_the_readme_says():
    command = next(line for line in text("README.md").splitlines() if "  pytest -n" in line).partition(" #")[0]
    assert f"python3 -m uv run {command.strip()}" in text(".ci/run")


def test_hooks_run_what_ci_runs():
    (repo,) = read(".pre-commit-config.yaml")["repos"]
    hooks = {hook["entry"].removeprefix("uv run --no-sync ").removesuffix(" --fix") for hook in repo["hooks"]}
    linted = re.findall(r"^  python3 -m uv run (.+)$", text(".ci/run"), re.M)
    assert len(linted) >= 2
    assert {line.removesuffix(" --check") for line in linted} <= hooks


def test_system_libraries_are_the_same_everywhere():
    doctor = subprocess.run([sys.executable, "-m", "suite.doctor", "--json"], cwd=ROOT, capture_output=True)
    needed = {library["package"] for library in json.loads(doctor.stdout)["system_libraries"].values()}
    assert libraries(next(line for line in text(".ci/run").splitlines() if line.startswith("libraries="))) == needed
    assert libraries(next(line for line in text("Dockerfile").splitlines() if "apt-get install" in line)) == needed
    assert libraries(next(line for line in text("README.md").splitlines() if "apt-get install" in line)) == needed


def test_the_container_has_the_readmes_python_and_steps():
    dockerfile = text("Dockerfile")
    base = f"python:{text('.python-version').strip()}-bookworm"
    assert f"\nFROM {base} AS base\n" in dockerfile
    assert read(".github/workflows/ci.yml")["jobs"]["check"]["container"] == base
    assert "pip install uv && uv sync" in text("README.md")
    assert "RUN pip install --no-cache-dir uv\n" in dockerfile
    assert "RUN uv sync " in dockerfile
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert container["build"]["target"] == "base"
    assert container["postCreateCommand"].startswith("uv sync")


def test_templates_name_commands_that_exist():
    for template in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        for command in re.findall(r"`gradus ([a-z]+)", template.read_text(encoding="utf-8")):
            done = subprocess.run([sys.executable, "-m", "gradus", command, "--help"], cwd=ROOT, capture_output=True)
            assert done.returncode == 0


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md"])
def test_links_of_the_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text(page)):
        assert target.startswith("https://") or (ROOT / target).exists(), target
