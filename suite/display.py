"""What the user sees while a matrix runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table

LINE_S = 15.0  # [s] between two lines on a running job where there is no terminal
TOTAL_S = 60.0  # [s] between two lines on all of them
ACTIVE = ("starting", "training", "evaluating")
DONE = ("complete", "skipped")
_STYLES = {"failed": "red", "complete": "green", "skipped": "green", "queued": "dim", "stopped": "yellow"}


class Name(Protocol):
    """Which run."""

    task: str
    algo: str
    variant: str
    seed: int
    env_steps: int


class Shown(Protocol):
    """A run and where it stands; see `scheduler.Tracked`. `status` is the content of its status.json."""

    job: Name
    state: str
    status: dict[str, Any]
    message: str


class Display:
    """Context manager; `update` takes the state of all jobs."""

    def update(self, jobs: Sequence[Shown]) -> None:
        """Show it."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Plain(Display):
    """One line when a job changes its state, and now and then while it runs."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: dict[int, tuple[str, str, float]] = {}
        self._total = time.monotonic()

    def update(self, jobs: Sequence[Shown]) -> None:
        """Print what is new."""
        for index, t in enumerate(jobs):
            state, message, when = self._said.get(index, ("queued", "", 0.0))
            news = t.state != state or (t.state in ("starting", "queued") and t.message != message)
            if news or (t.state in ACTIVE and time.monotonic() - when > LINE_S):
                self._said[index] = (t.state, t.message, time.monotonic())
                print(f"[{time.strftime('%H:%M:%S')}] {index + 1}/{len(jobs)} {describe(t)}", flush=True)
        if len(jobs) > 1 and time.monotonic() - self._total > TOTAL_S:
            self._total = time.monotonic()
            print(f"[{time.strftime('%H:%M:%S')}] {overall(jobs)}", flush=True)


class Live(Display):
    """A table that is redrawn in place."""

    def __init__(self) -> None:
        """Take over the terminal on entry."""
        from rich.live import Live as RichLive

        self._live = RichLive(refresh_per_second=4)

    def update(self, jobs: Sequence[Shown]) -> None:
        """Redraw."""
        self._live.update(table(jobs, room=max(5, self._live.console.height - 6)))

    def __enter__(self) -> Display:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(*error)


def choose() -> Display:
    """The one that standard output can show."""
    return Live() if sys.stdout.isatty() else Plain()


def describe(t: Shown) -> str:
    """One line on one job."""
    cells = _cells(t)
    parts = [f"{name} {cells[name]}" for name in ("steps", "steps/s", "return", "success", "left") if cells[name]]
    line = f"{t.job.task} {t.job.algo} {t.job.variant} seed {t.job.seed}: {t.state}"
    if parts and t.state in ("training", *DONE):
        line += f" | {' | '.join(parts)}"
    return f"{line} | {t.message}" if t.message else line


def table(jobs: Sequence[Shown], room: int) -> Table:
    """The table, cut to `room` rows: first what runs, then what failed, then the rest."""
    from rich.table import Table
    from rich.text import Text

    order = {"failed": 1, "stopped": 1, "elsewhere": 2, "queued": 3}
    shown = sorted(jobs, key=lambda t: 0 if t.state in ACTIVE else order.get(t.state, 4))[:room]
    variants = len({t.job.variant for t in jobs}) > 1
    view = Table(caption=overall(jobs), caption_justify="left")
    columns = ["task", "algo", *(["variant"] if variants else []), "seed", "state"]
    numbers = ["steps", "steps/s", "return", "success", "left"]
    for name in columns:
        view.add_column(name, overflow="fold")
    for name in numbers:
        view.add_column(name, justify="right", no_wrap=True)
    view.add_column("", overflow="fold")
    for t in shown:
        cells = _cells(t)
        labels = [t.job.task, t.job.algo, *([t.job.variant] if variants else []), str(t.job.seed)]
        state = Text(t.state, style=_STYLES.get(t.state, "bold"))
        view.add_row(*labels, state, *(cells[name] for name in numbers), Text(t.message))
    return view


def overall(jobs: Sequence[Shown]) -> str:
    """One line on all jobs: states, share of the env steps that is done, speed, and the time that is left at it."""
    counts = Counter(t.state for t in jobs)
    total = sum(t.job.env_steps for t in jobs)
    done = sum(t.job.env_steps if t.state in DONE else t.status.get("env_steps") or 0 for t in jobs)
    speed = sum(t.status.get("steps_per_s") or 0.0 for t in jobs if t.state == "training")
    parts = [f"{len(jobs)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}"]
    if total:
        parts.append(f"{done / total:.0%} of {_count(total)} env steps")
    if speed and done < total:
        parts.append(f"{_count(speed)} steps/s, about {duration((total - done) / speed)} left")
    return " | ".join(parts)


def _cells(t: Shown) -> dict[str, str]:
    status: dict[str, Any] = t.status
    total, done = status.get("total_env_steps"), status.get("env_steps")
    return {
        "steps": f"{_count(done)}/{_count(total)}" if total else "",
        "steps/s": _count(status.get("steps_per_s")),
        "return": _number(status.get("return_mean"), ".1f"),
        "success": _number(status.get("success_mean"), ".2f"),
        "left": duration(status.get("eta_s")),
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _count(value: float | None) -> str:
    """A count in three digits or so: 950, 12.3k, 4.0M."""
    if value is None:
        return ""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds; '' for None."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
