"""What docs/design.md says of the packages, folders and modules is so. Imports are those of the source (grimp)."""

import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(
    name for name in ("tasks", "curricula", "baselines", "suite", "leaderboard", "gradus") if (ROOT / name).is_dir()
)
"""From the left to the right: each may import what stands before it."""

MOST_LINES, MOST_MODULES = 400, 15
SAME_NAME = {
    "spec": "every task has one, as data, and tasks/spec.py is its type",
    "mdp": "every task has one",
    "env": "tasks/core has the contract, tasks/toy and tasks/multitask envs without a simulator of their own",
    "registry": "tasks/core has the class, tasks/factors that of the effects",
    "runtime": "every engine has one",
}
"""Names that several modules of a package have, and why."""

TO_GO: set[str] = set()
"""Modules with an import against the order, known and soon gone. Nothing may be added here."""

LAYERS = {
    "tasks": [
        ["tasks.spec", "tasks.core.registry", "tasks.core.caches", "tasks.core.files", "tasks.core.fast"],
        ["tasks.core.draws", "tasks.core.grades"],
        ["tasks.core.engines", "tasks.core.env_state", "tasks.multitask.declare"],
        ["tasks.factors", "tasks.cuda"],
        ["tasks.core"],
        ["tasks.multitask"],
        ["tasks"],
        ["tasks.isaaclab"],
        ["tasks.toy", "tasks.classic", "tasks.locomotion", "tasks.manipulation"],
        ["tasks.dexterity"],
    ],
    "curricula": [
        ["curricula.definition", "curricula.episodes", "curricula.window"],
        ["curricula.builtin", "curricula.registry"],
        ["curricula.config"],
        ["curricula.space"],
        ["curricula.teacher"],
        ["curricula.mix", "curricula.teachers"],
        ["curricula"],
    ],
    "baselines": [
        ["baselines.actions", "baselines.errors", "baselines.policy_header"],
        ["baselines.algorithms.definition", "baselines.algorithms.registry"],
        ["baselines.config", "baselines.tianshou.batch", "baselines.tianshou.graphs"],
        ["baselines.data"],
        ["baselines.policy_file"],
        ["baselines.tianshou"],
        ["baselines.algorithms"],
        ["baselines"],
        ["baselines.learner"],
    ],
    "suite": [
        ["suite.cli.interrupt", "suite.cli.output"],
        ["suite"],
        ["suite.errors", "suite.untrusted", "suite.protocol"],
        ["suite.execute.devices", "suite.execute.energy", "suite.execute.process", "suite.execute.lease"],
        ["suite.runs.schemas", "suite.runs.episode_table"],
        ["suite.runs.rundir", "suite.plan.values", "suite.report"],
        ["suite.tracking"],
        ["suite.plan"],
        ["suite.runs", "suite.execute"],
        ["suite.cli"],
        [
            *("suite.adopt", "suite.doctor", "suite.evaluate", "suite.list", "suite.render", "suite.reproduce"),
            *("suite.run", "suite.status"),
        ],
    ],
    "leaderboard": [
        ["leaderboard"],
        ["leaderboard.data", "leaderboard.stats"],
        ["leaderboard.curricula"],
        ["leaderboard.board", "leaderboard.submissions"],
        ["leaderboard.site"],
        ["leaderboard.service"],
        ["leaderboard.build", "leaderboard.publish", "leaderboard.serve", "leaderboard.submit", "leaderboard.verify"],
        ["leaderboard.report", "leaderboard.results"],
    ],
}
"""Of each package from the lowest: a module imports from its own layer and from those below it.

A folder stands for the modules in it that have no line of their own.
"""


@cache
def graph():
    """Every import of the packages, those inside functions and under TYPE_CHECKING included."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imports(exclude=()):
    """`(importer, imported)` of all imports between modules of the packages."""
    found = graph()
    pairs = ((a, b) for a in sorted(found.modules) for b in sorted(found.find_modules_directly_imported_by(a)))
    return [(a, b) for a, b in pairs if not {a, b} & set(exclude)]


def sources(folder=None):
    """Python files of the packages, or of a folder."""
    return sorted(path for name in ([folder] if folder else PACKAGES) for path in (ROOT / name).rglob("*.py"))


def test_packages_import_one_way():
    order = {name: at for at, name in enumerate(PACKAGES)}
    wrong = [f"{a} imports {b}" for a, b in imports() if order[b.split(".")[0]] > order[a.split(".")[0]]]
    assert not wrong


def circle(pairs):
    before = defaultdict(set)
    for importer, imported in pairs:
        before[importer].add(imported)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_module_is_in_a_circle_of_imports():
    assert circle(imports(TO_GO)) is None


def test_the_search_finds_circles():
    assert circle([("a", "b"), ("b", "c")]) is None
    assert set(circle([("a", "b"), ("b", "c"), ("c", "a")])) == {"a", "b", "c"}


def layer(module, layers):
    """Index of the layer whose longest name is the module's or a folder's above it; -1 where no layer has it."""
    names = [(len(name), at) for at, own in enumerate(layers) for name in own if f"{module}.".startswith(f"{name}.")]
    return max(names)[1] if names else -1


@pytest.mark.parametrize("package", LAYERS)
def test_a_module_imports_from_its_layer_and_below(package):
    layers = LAYERS[package]
    inside = [(a, b) for a, b in imports(TO_GO) if a.split(".")[0] == b.split(".")[0] == package]
    wrong = [f"{a} imports {b}" for a, b in inside if layer(a, layers) < layer(b, layers)]
    assert not wrong


@pytest.mark.parametrize("package", LAYERS)
def test_every_folder_is_in_a_layer(package):
    own = {f"{package}.{path.stem}" for path in (ROOT / package).glob("*.py") if path.stem != "__init__"}
    own |= {f"{package}.{path.parent.name}" for path in (ROOT / package).glob("*/__init__.py")}
    named = {name for names in LAYERS[package] for name in names}
    assert own <= named


NO_TORCH = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    if hasattr(package, "__path__"):
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
print(*sorted({"torch", "isaaclab", "tianshou", "warp", "ray"} & {name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "modules",
    [["leaderboard"], ["suite.run", "suite.plan", "suite.cli", "suite.report", "suite.tracking"], ["tasks.spec"]],
    ids=["leaderboard", "planning", "specs"],
)
def test_nothing_slow_is_imported(modules):
    """`leaderboard` and the planning of runs need neither torch nor a simulator, and start in a second."""
    done = subprocess.run([sys.executable, "-c", NO_TORCH, *modules], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_folders_and_modules_are_small():
    modules = defaultdict(list)
    for path in sources():
        if path.stem != "__init__":
            modules[path.parent].append(path)
    assert {str(folder): len(own) for folder, own in modules.items() if len(own) > MOST_MODULES} == {}
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_modules_of_a_package_have_one_name(package):
    names = defaultdict(list)
    for path in sources(package):
        if path.stem not in ("__init__", *SAME_NAME):
            names[path.stem].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in names.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_packages(package):
    """Each file of tests/PACKAGE imports something of that package, or runs one of its modules."""
    for path in sorted((ROOT / "tests" / package).glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        assert re.search(rf"\b(from|import) {package}\b|\b{package}[./]\w", text), path.name
