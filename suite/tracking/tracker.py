"""Weights & Biases: what a run logs there, and whether it does."""

from __future__ import annotations

import math
import netrc
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omegaconf import DictConfig

from suite.errors import UserError, first_line, one_of
from suite.runs.rundir import RunDir, atomic
from suite.tracking import media_tables
from tasks.core.settings import as_dict

MODES = ("online", "offline", "disabled")
CONNECT_S, UPLOAD_S = 20.0, 300.0  # [s] until W&B counts as out of reach: at the start, and while the last is sent
HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")  # where `wandb login` keeps its key by default, now and before
PROJECT = "gradus"  # `WANDB_PROJECT` and `WANDB_ENTITY` put the runs elsewhere


def login() -> str | None:
    """Where this user's W&B key was found (`WANDB_API_KEY` or the netrc file), or None; the network is not asked."""
    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    host = os.environ.get("WANDB_BASE_URL")
    hosts = [urlsplit(host).netloc] if host else HOSTS
    files = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for file in files:
        path = Path(file).expanduser()
        try:
            keys = netrc.netrc(path)
        except (OSError, netrc.NetrcParseError):
            continue
        # Not `authenticators`: an entry that is for all other hosts is no login at W&B.
        if any((found := keys.hosts.get(host)) and found[2] for host in hosts):
            return str(path)
    return None


def choose_mode(asked: str | None) -> tuple[str, str]:
    """The mode, and why it was taken where none was asked for.

    Raises:
        UserError: for an unknown mode, or `online` without a login, which would ask for a key in every worker.
    """
    key = login()
    if asked is not None:
        one_of("W&B mode", asked, MODES)
    if asked == "online" and not key:
        raise UserError("--wandb online needs a login: run `wandb login` once, or use --wandb offline")
    if asked is not None:
        return asked, ""
    if (mode := os.environ.get("WANDB_MODE")) in MODES and (mode != "online" or key):
        return mode, f"wandb: {mode}, because WANDB_MODE says so"
    if key:
        return "online", f"wandb: online, because {key} has a key (--wandb disabled turns it off)"
    return "disabled", "wandb: disabled, because you are not logged in (`wandb login`, or --wandb offline)"


class Tracker:
    """Logs one run to W&B. Nothing that W&B does or fails to do stops the run: it is reported once and left alone.

    A run that is continued has the same W&B id. Online, its rows of `progress.parquet` that the server lacks are sent
    first. Offline W&B cannot continue a run: each try writes all rows again, and the folders of earlier tries go when
    its own is whole.
    """

    def __init__(self) -> None:
        self._wandb: Any = None
        self._run: Any = None
        self._logged = -1  # env steps of the last row that W&B has

    def start(self, config: DictConfig, run: RunDir) -> None:
        """Start or continue the W&B run that belongs to the run directory, unless the mode is `disabled`."""
        if config.wandb == "disabled":
            return
        try:
            import wandb

            folder = run.path / "wandb"
            folder.mkdir(exist_ok=True)
            os.environ.setdefault("WANDB_DATA_DIR", str(folder))
            self._wandb = wandb
            self._run = self._init(config, run, _run_id(folder / "id"))
            self._run.define_metric("env_steps")
            self._run.define_metric("*", step_metric="env_steps")
            if self._run.resumed:
                self._logged = self._run.summary.get("env_steps", -1)
            for row in media_tables.progress(run.progress):
                self.log(row)
        except Exception as error:
            self._give_up(error)

    def _init(self, config: DictConfig, run: RunDir, run_id: str) -> Any:
        """The W&B run, offline if there is no connection."""
        variant = run.path.parent.name
        options = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "dir": str(run.path),
            "id": run_id,
            "name": f"{config.task}/{config.algo}/{variant}/{run.path.name}",
            "group": f"{config.task}/{config.algo}/{variant}",
            "job_type": config.budget,
            "tags": _tags(config),
            # The variant names the setting, overrides included: what to group a sweep's curves by.
            "config": as_dict(config) | {"variant": variant},
        }
        # Git and the requirements are in provenance.json; the console is worker.log.
        settings = {"silent": True, "console": "off", "disable_git": True, "save_code": False}
        if config.wandb == "online":
            waits = {"init_timeout": CONNECT_S, "finish_timeout": UPLOAD_S, "finish_timeout_raises": True}
            online = self._wandb.Settings(**settings, **waits)
            try:
                return self._wandb.init(mode="online", resume="allow", settings=online, **options)
            except Exception as error:
                self._wandb.teardown(exit_code=1)  # it holds the id
                _say(f"W&B cannot be reached, logging offline into {run.path / 'wandb'}: {first_line(error)}")
        return self._wandb.init(mode="offline", settings=self._wandb.Settings(**settings), **options)

    def log(self, row: Mapping[str, float]) -> None:
        """Log one row of the learning curve; it has `env_steps`. Rows that W&B has are left out."""
        if self._run is None or row["env_steps"] <= self._logged:
            return
        try:
            self._run.log({key: value for key, value in row.items() if math.isfinite(value)})
            self._logged = row["env_steps"]
        except Exception as error:
            self._give_up(error)

    def finish(self, run: RunDir, result: Mapping[str, Any], curve: Sequence[Mapping[str, float]]) -> None:
        """Log the evaluation (table, figures, summary), the curriculum and the files, and end the W&B run."""
        if self._run is None:
            return
        try:
            media = media_tables.images(result, curve, run)
            table = self._wandb.Table(**media_tables.cells(run.episodes))
            images = {f"figures/{name}": self._wandb.Image(image) for name, image in media.items()}
            self._run.log({"env_steps": result["env_steps"], "evaluation": table, **images})
            for row in media_tables.curriculum(run.curriculum):
                self._run.log(row)
            for name in ("success", "return"):
                known = {g: value for g, value in result[name].items() if math.isfinite(value)}
                self._run.summary.update({f"{name}/{grade}": value for grade, value in known.items()})
                if known:
                    self._run.summary[f"{name}/mean"] = sum(known.values()) / len(known)
            for key in ("wall_time_s", "evaluation_time_s", "policy_sha256", "episodes_sha256"):
                self._run.summary[key] = result[key]
            for kind, paths in run_files(run).items():
                artifact = self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
                # The run directory keeps the files, so W&B need not copy them first.
                for path in paths:
                    artifact.add_file(str(path), policy="immutable")
                self._run.log_artifact(artifact)
            self.end(0)
        except Exception as error:
            self._give_up(error)

    def end(self, exit_code: int) -> None:
        """End the W&B run, with what was logged so far; 0 says that the run is complete."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            mine = Path(run.settings.sync_dir)
            run.finish(exit_code=exit_code)
            self._wandb.teardown()  # waits until W&B's own process has written the file, which `finish` does not
            for earlier in mine.parent.glob(f"*run-*-{run.id}"):
                if earlier != mine:  # its rows are in this one, or on the server
                    shutil.rmtree(earlier)
        except Exception as error:
            _say(f"W&B did not end its run, `wandb sync` sends what is left of it: {first_line(error)}")

    def _give_up(self, error: Exception) -> None:
        _say(f"W&B stopped logging: {first_line(error)}")
        run, self._run = self._run, None
        if run is not None:
            with suppress(Exception):
                run.finish(exit_code=1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run_id(file: Path) -> str:
    """The W&B id of the run directory: drawn once, so that an interrupted run continues under the same one."""
    if not file.exists():
        drawn = secrets.token_hex(6)
        atomic(file, lambda temporary: temporary.write_text(drawn, encoding="utf-8"))
    return file.read_text(encoding="utf-8")


def _tags(config: DictConfig) -> list[str]:
    """What a sweep is filtered by."""
    names = [config.task, config.algo, config.curriculum.name, config.randomization, config.engine, config.budget]
    return [*names, f"suite-{config.suite_version}"]


def run_files(run: RunDir) -> dict[str, list[Path]]:
    """Files of the artifacts: the policy, and the result with its evidence."""
    return {kind: run.there(lambda file, kind=kind: file.artifact == kind) for kind in ("policy", "result")}
