"""The public names and their signatures: a change of them is one of this file's snapshot, too."""

import inspect
import os
from importlib import import_module
from pathlib import Path

import gradus

SNAPSHOT = Path(__file__).with_name("public_api.txt")
REWRITE = "GRADUS_REWRITE_API"
MODULES = ("tasks", "tasks.spec", "tasks.core.env", "curricula", "curricula.teacher", "baselines")
MODULES += ("baselines.policy_file", "suite", "leaderboard.build")


def described(name, value):
    if inspect.isclass(value):
        methods = [f"{name}.{m}" for m in sorted(vars(value)) if not m.startswith("_")]
        return [f"class {name}", *(f"    {method}" for method in methods)]
    if callable(value) and not inspect.ismodule(value):
        names = [str(p).split(":")[0].split("=")[0].strip() for p in inspect.signature(value).parameters.values()]
        return [f"def {name}({', '.join(names)})"]
    return [f"{name}"]


def snapshot():
    lines = ["# gradus"]
    for name in gradus.__all__:
        lines += described(name, getattr(gradus, name))
    for module in map(import_module, MODULES):
        lines += ["", f"# {module.__name__}"]
        for name, value in sorted(vars(module).items()):
            own = getattr(value, "__module__", "") == module.__name__
            if own and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
                lines += described(name, value)
    return "\n".join(lines) + "\n"


def test_the_public_names_are_those_of_the_snapshot():
    if os.environ.get(REWRITE):
        SNAPSHOT.write_text(snapshot(), encoding="utf-8")
    assert snapshot() == SNAPSHOT.read_text(encoding="utf-8"), f"if it is meant: {REWRITE}=1 pytest {__file__}"
