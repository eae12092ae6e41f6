"""README and docs: every command is one that its program takes, and every Python block runs."""

import argparse
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gradus.app import build as gradus_app
from gradus.commands import COMMANDS
from suite.cli import app, arguments
from suite.errors import UserError
from suite.plan import config
from suite.plan.matrix import plan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = {
    "N": "1",
    "K": "0",
    "S": "60",
    "G": "g3",
    "NAME": "toy-reach",
    "TASK": "toy-reach",
    "T": "toy-reach",
    "P": "zero",
}
SYNOPSIS = re.compile(r"\[-|\.\.\.|\|| \[|, \.\.|/ [a-z]")  # what is left out, or a choice


START = re.compile(r"python -m |gradus ")


def commands(text):
    """Commands `gradus ...` and `python -m ...` in indented lines, continued ones as one, and in backticks."""
    lines = iter(text.splitlines())
    for line in lines:
        yield from re.findall(r"`((?:python -m |gradus )[^`]+)`", line)
        if not line.startswith("    "):
            continue
        line = line.strip()
        while line.endswith("\\"):
            line = line[:-1] + next(lines).strip()
        line = line.removeprefix("uv run ").replace("$OUT", "OUT")
        if START.match(line):
            yield line.partition(" #")[0].strip()


def module_and_arguments(words):
    """What a command line calls: `gradus X` is `python -m` of a module."""
    if words[0] == "gradus":
        return (
            (COMMANDS[words[1]].module, words[2:]) if len(words) > 1 and words[1] in COMMANDS else ("gradus", words[1:])
        )
    return words[2], words[3:]


ALL = sorted({(page.name, line) for page in PAGES for line in commands(page.read_text(encoding="utf-8"))})


class Parsed(BaseException):
    """What a program's own parser made of a command line; raised before it does anything."""


def is_typers(module):
    return module in {entry.module for entry in COMMANDS.values()}


def check_arguments(monkeypatch, module, argv):
    """`module` gets as far as its parser, which takes all of `argv`."""
    if is_typers(module):
        command = importlib.import_module(module).main.command
        while True:
            with command.make_context(module, list(argv)) as context:
                argv = [*context._protected_args, *context.args]
                if not argv:
                    return
                _, command, argv = command.resolve_command(context, argv)

    def look(parser, args=None, namespace=None, known=argparse.ArgumentParser.parse_known_args):
        raise Parsed(*known(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", look)
    monkeypatch.setattr(sys, "argv", [module, *argv])
    main = importlib.import_module(module).main
    with pytest.raises(Parsed) as found:
        main(argv) if inspect.signature(main).parameters else main()
    # gpu_packing hands the rest on to suite.run
    assert not found.value.args[1] or module == "benchmarks.gpu_packing", f"{module} does not take {argv}"


def options(monkeypatch, module):
    """The options that a module's command has."""
    if is_typers(module) or module == "gradus":
        command = gradus_app() if module == "gradus" else importlib.import_module(module).main.command
        commands = [command, *getattr(command, "commands", {}).values()]
        return {option for each in commands for option in app.options(each)}

    def look(parser, args=None, namespace=None):
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", look)
    monkeypatch.setattr(sys, "argv", [module])
    main = importlib.import_module(module).main
    with pytest.raises(Parsed) as found:
        main([]) if inspect.signature(main).parameters else main()
    return {option for action in found.value.args[0]._actions for option in action.option_strings}


@pytest.mark.parametrize(("page", "line"), ALL, ids=[f"{page}: {line[:80]}" for page, line in ALL])
def test_a_command_is_one_that_its_program_takes(monkeypatch, tmp_path, page, line):
    if SYNOPSIS.search(line):
        module, _ = module_and_arguments(line.split())
        if " / " in line:  # several programs
            package = module.partition(".")[0]
            for name in line.split(" / ")[1:]:
                assert name in COMMANDS or importlib.util.find_spec(f"{package}.{name}"), name
            return
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) <= options(monkeypatch, module)
        return
    module, argv = module_and_arguments(shlex.split(line))
    argv = [WORDS.get(word, word) for word in argv]
    if module == "gradus":
        assert {*argv} <= {*options(monkeypatch, module), "COMMAND"}, f"gradus does not take {argv}"
        return
    if module == "pytest" or not argv:  # only named
        assert importlib.util.find_spec(module)
        return
    if module != "suite.run":
        check_arguments(monkeypatch, module, argv)
        return
    # What depends on the machine is another's.
    for option in (
        "--device",
        "--jobs-per-gpu",
        "--workers",
        "--launcher",
        "--ray-address",
        "--store",
        "--init",
        "--out",
    ):
        while option in argv:
            del argv[argv.index(option) : argv.index(option) + 2]
    monkeypatch.setattr("suite.plan.matrix.concrete_engine", lambda engine, spec: engine)
    monkeypatch.setattr(arguments, "check_memory", lambda *args: None)
    request, *_ = arguments.parse([*argv, "--device", "cpu", "--wandb", "disabled", "--out", str(tmp_path)])
    assert plan(request)


def test_a_command_that_its_program_does_not_take_is_found(monkeypatch, tmp_path):
    for line in (
        "python -m suite.evaluate RUN --enigne x",
        "gradus evaluate RUN --enigne x",
        "python -m leaderboard.build RUNS --aut SITE",
        "gradus biuld RUNS --out SITE",
        "gradus serve tkoen NAME",
    ):
        with pytest.raises((AssertionError, UserError)):
            test_a_command_is_one_that_its_program_takes(monkeypatch, tmp_path, "", line)
        monkeypatch.undo()
    for form in ("python -m suite.run", "gradus run"):
        with pytest.raises(UserError, match="unknown task"):
            test_a_command_is_one_that_its_program_takes(
                monkeypatch, tmp_path, "", f"{form} --task franka-lft --algo ppo"
            )


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def run(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def play(page, folder):
    """The Python blocks of a page in turn: files, ends of files of the repository, and what is run."""
    printed = []
    for block in blocks(page):
        first = block.splitlines()[0]
        if found := re.fullmatch(r"# at the end of (\S+)", first):
            with open(folder / found[1], "a", encoding="utf-8") as file:
                file.write("\n\n" + block)
        elif found := re.fullmatch(r"# (\S+\.py)", first):
            (folder / found[1]).parent.mkdir(exist_ok=True)
            (folder / found[1]).write_text(block, encoding="utf-8")
        else:
            printed.append(run(folder, "-c", block))
    return printed


def test_the_recipe_of_a_factor(tmp_path):
    (printed,) = play(ROOT / "docs" / "robustness.md", tmp_path)
    moved = [float(line.split()[-2]) for line in printed.splitlines()]
    assert moved[:10] == [0.0] * 10  # half a second
    assert moved[10] > 0.0


def test_an_env_from_python(tmp_path):
    play(ROOT / "docs" / "running.md", tmp_path)
    from baselines.policy_header import read

    header, _ = read(tmp_path / "policy.safetensors")
    assert header.kind == "mlp"


def test_every_python_block_is_run_above():
    pages = {page.name for page in PAGES if blocks(page)}
    assert pages == {"robustness.md", "running.md", "extending.md"}  # the last in tests/plugins


def test_commands_have_one_form():
    for page in PAGES:
        assert "uv run" not in page.read_text(encoding="utf-8"), page.name


def test_yaml_blocks_hold_settings():
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            import yaml

            keys = set(yaml.safe_load(block))
            assert keys <= set(config.RunConfig.__dataclass_fields__)


def test_python_one_liners_run(tmp_path):
    """`python -c "..."`, over one line or several."""
    found = [
        m
        for page in PAGES
        for m in re.findall(r'^    python -c "(.*?)"$', page.read_text(encoding="utf-8"), re.M | re.S)
    ]
    assert len(found) == 2
    for code in found:
        lines = code.replace("/tmp", str(tmp_path)).splitlines()
        run(ROOT, "-c", "\n".join([lines[0], *(line.removeprefix("    ") for line in lines[1:])]))
