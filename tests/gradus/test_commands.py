"""`gradus`: its commands, their options and examples."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gradus.commands import COMMANDS

ROOT = Path(__file__).parents[2]
MEANINGS = {
    "--task": {"NAME", "NAMES"},
    "--budget": {"NAME"},
    "--seed": {"K"},
    "--physics": {"ENGINE"},
    "--device": {"DEVICE"},
    "--workers": {"N"},
    "--cells": {"N"},
    "--submitter": {"TEXT", "NAME"},
    "--out": {"DIR", "FILE", "SITE", "ZIP", "PAGE.md"},
    "--json": {None},
    "--wandb": {"MODE"},
}
"""What the value of an option is that more than one command has (or once meant something else)."""


def run(*words, **environment):
    command = [sys.executable, "-m", "gradus", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)


def visible(name):
    return [p for p in COMMANDS[name].load().command.params if not getattr(p, "hidden", False)]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_ones_that_the_command_takes(name):
    main = COMMANDS[name].load()
    assert main.program == COMMANDS[name].module
    assert main.command.examples
    for example in main.command.examples:
        program, command, *words = shlex.split(example)
        assert (program, command) == ("gradus", name)
        with main.command.make_context(name, words):
            pass


def test_an_option_has_one_meaning():
    found = {}
    for name in COMMANDS:
        for parameter in visible(name):
            if parameter.param_type_name == "option":
                found.setdefault(parameter.opts[0], []).append(parameter.metavar)
    assert {option for option, metavars in found.items() if len(metavars) > 1} <= set(MEANINGS)
    for option, metavars in MEANINGS.items():
        assert set(found[option]) <= metavars, option


def test_help_needs_no_command_and_no_torch():
    code = "import sys; sys.argv = ['gradus', {}]; from gradus.__main__ import main\ntry: main()\n"
    code += "finally: print({{'torch', 'suite.run', 'numpy', 'omegaconf'}} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code.format("'--help'")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "set()"
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    code = code.replace("'suite.run', 'numpy', 'omegaconf'", "'isaaclab'")
    done = subprocess.run([sys.executable, "-c", code.format("'list'")], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("words", [("status", "nowhere"), ("build", "RUNS", "--aut", "x"), ("run", "--task", "a")])
def test_both_forms_are_one_command(words):
    name, *rest = words
    module = [sys.executable, "-m", COMMANDS[name].module, *rest]
    first, second = run(*words), subprocess.run(module, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == second.returncode == 2
    assert first.stderr.replace(f"gradus {name}", COMMANDS[name].module, 1) == second.stderr
    assert len(first.stderr.splitlines()) == 1


def test_version_mistakes_and_completion():
    assert run("--version").stdout == "gradus 0.1.0\n"
    wrong = run("rnu")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "nearest: 'run'" in wrong.stderr
    asked = {"_GRADUS_COMPLETE": "complete_bash", "COMP_WORDS": "gradus run --task ant", "COMP_CWORD": "3"}
    assert run(**asked).stdout.split() == ["ant-run"]
    assert "complete" in run(_GRADUS_COMPLETE="source_bash").stdout
