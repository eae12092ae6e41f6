"""Standard output that is closed, full, without a reader or in ASCII ends no command, and Ctrl-C is always 130."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite import errors
from suite.cli import output

ROOT = Path(__file__).resolve().parents[2]
LIST = f"{sys.executable} -m suite.list"


def shell(command, **environment):
    options = {"capture_output": True, "text": True, "cwd": ROOT, "env": os.environ | environment}
    return subprocess.run(["bash", "-c", command], **options)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (f"exec {LIST} >&-", 0, ""),
        (f"exec {LIST} <&- 2>&-", 0, ""),
        (
            f"exec {LIST} --json > /dev/full",
            1,
            "suite.list: standard output cannot be written: No space left on device\n",
        ),
        (f"set -o pipefail; {LIST} | head -1 > /dev/null", 0, ""),
    ],
)
def test_output_that_cannot_be_written_ends_no_command(command, code, said):
    done = shell(command)
    assert (done.returncode, done.stderr) == (code, said)


def test_an_ascii_terminal_gets_every_character():
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = shell(LIST, **ascii_only)
    assert done.returncode == 0, done.stderr
    code = "from suite.errors import exit_code; exit_code('x', lambda: print('\\u2500 \\u2192 \\u03b1') or 0)"
    assert shell(f'{sys.executable} -c "{code}"', **ascii_only).stdout == "\\u2500 \\u2192 \\u03b1\n"


def test_a_command_goes_on_without_a_reader(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w", encoding="utf-8"))
    lines = []

    def command():
        for number in range(3):
            print(number, flush=True)
            lines.append(number)
        return 0

    assert errors.exit_code("a command", command) == 0
    assert lines == [0, 1, 2]


def test_what_was_lost_is_said(capsys, monkeypatch):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert errors.exit_code("a command", lambda: print("x") or 0) == 1
    assert "a command: standard output cannot be written: No space left" in capsys.readouterr().err


def test_output_is_as_it_was_afterwards(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with output.lasting() as lost:
        print("told")
        assert lost() == ""
    assert sys.stdout is stream
    assert stream.getvalue() == "told\n"


@pytest.mark.parametrize("module", ["suite.run", "suite.render", "leaderboard.build"])
@pytest.mark.parametrize("after_s", [0.02, 0.2])
def test_ctrl_c_while_a_command_imports(module, after_s, tmp_path):
    # Python itself takes some time until it looks for the module; a file says when it has begun to.
    begun = tmp_path / "begun"
    hook = "import sys, pathlib; sys.addaudithook(lambda e, a: e == 'import' and a[0] in ('suite.errors', 'numpy')"
    (tmp_path / "usercustomize.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(f"{hook} and pathlib.Path({str(begun)!r}).touch())\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--task", "nothing"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    # 2: it had ended. Killed by the signal, as a process is that is about to end, is 130 to a shell, too.
    assert process.returncode in (130, 2, -signal.SIGINT)
