"""The commands of `gradus`: name, module, and what it does in one line. No module is imported before it is called."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from suite.cli.app import Main


class Entry(NamedTuple):
    """A command: `python -m MODULE` is the same."""

    module: str
    group: str
    help: str

    def load(self) -> Main:
        """The command itself."""
        return import_module(self.module).main


RUNS, BOARD, SUBMISSIONS, MACHINE = "Runs", "Leaderboard", "Submissions", "This machine"

COMMANDS = {
    "run": Entry("suite.run", RUNS, "Train and evaluate a matrix of runs, and build the leaderboard page."),
    "status": Entry("suite.status", RUNS, "Show where the runs in a folder stand."),
    "evaluate": Entry("suite.evaluate", RUNS, "Evaluate a run's policy again, also on another engine."),
    "reproduce": Entry("suite.reproduce", RUNS, "Do a run again, and compare."),
    "render": Entry("suite.render", RUNS, "Write a picture or a film of a policy."),
    "adopt": Entry("suite.adopt", RUNS, "Make a run of a policy that other code trained."),
    "build": Entry("leaderboard.build", BOARD, "Write the leaderboard page of a folder of runs."),
    "results": Entry("leaderboard.results", BOARD, "Write the results as a Markdown page with pictures."),
    "curricula": Entry("leaderboard.curricula", BOARD, "Say whether a curriculum helped."),
    "publish": Entry("leaderboard.publish", BOARD, "Copy complete runs into a folder for git."),
    "report": Entry("leaderboard.report", BOARD, "Write a W&B report on published runs."),
    "submit": Entry("leaderboard.submit", SUBMISSIONS, "Pack runs for a leaderboard."),
    "verify": Entry("leaderboard.verify", SUBMISSIONS, "Verify a submission."),
    "serve": Entry("leaderboard.serve", SUBMISSIONS, "Take submissions in, and verify them."),
    "list": Entry("suite.list", MACHINE, "Show what can be run."),
    "doctor": Entry("suite.doctor", MACHINE, "Say what this machine has, and what is missing."),
}
