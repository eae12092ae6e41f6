"""What the user sees while a matrix runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

LINE_S = 15.0  # [s] between two lines on a running job where there is no terminal
TOTAL_S = 60.0  # [s] between two lines on all of them
ACTIVE = ("starting", "training", "evaluating")
DONE = ("complete", "skipped")
LABELS, NUMBERS = ("task", "algo", "variant", "seed", "state"), ("steps", "steps/s", "return", "success", "left")
DROPPED = ("return", "steps/s", "seed", "algo", "steps", "success", "left")  # in this order, where the screen is narrow
GAP = "  "  # between two columns
NARROWEST = 8  # a variant or a task that does not fit is cut to this, not further
_STYLES = {
    "failed": "red",
    "complete": "green",
    "skipped": "green",
    "queued": "dim",
    "stopped": "yellow",
    "lost": "red",
}


class Name(Protocol):
    """Which run."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def algo(self) -> str:
        """Name of the algorithm."""
        ...

    @property
    def variant(self) -> str:
        """Its other settings, as in the path."""
        ...

    @property
    def seed(self) -> int:
        """Of the training."""
        ...

    @property
    def env_steps(self) -> int:
        """Of the whole training."""
        ...


class Shown(Protocol):
    """A run and where it stands; see `scheduler.Tracked`."""

    @property
    def job(self) -> Name:
        """Which run."""
        ...

    @property
    def state(self) -> str:
        """What it does."""
        ...

    @property
    def status(self) -> Mapping[str, Any]:
        """Content of its status.json."""
        ...

    @property
    def message(self) -> str:
        """Why, or what takes long."""
        ...


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
        from rich.live import Live as RichLive

        self._live = RichLive(refresh_per_second=4)

    def update(self, jobs: Sequence[Shown]) -> None:
        """Redraw."""
        self._live.update(Board(jobs))

    def __enter__(self) -> Display:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
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


class Board:
    """All jobs on one screen, as a rich renderable that fits the console it is drawn on; see `lines`."""

    def __init__(self, jobs: Sequence[Shown]) -> None:
        self._jobs = list(jobs)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines."""
        # One line stays free: a terminal scrolls when its last one ends.
        yield from lines(self._jobs, options.max_width, console.height - 1)


def lines(jobs: Sequence[Shown], width: int, height: int) -> list[Text]:
    """At most `height` lines, none wider than `width`: the summary, then what runs, what failed, and the rest.

    A job takes a line, and one more for its message. A narrow screen leaves out columns, a short one counts the jobs
    that do not run, then leaves out messages.
    """
    from rich.text import Text

    order = {"failed": 1, "stopped": 1, "lost": 1, "elsewhere": 2, "queued": 3}
    ordered = sorted(jobs, key=lambda t: 0 if t.state in ACTIVE else order.get(t.state, 4))
    rows = [{**_labels(t), **_cells(t)} for t in ordered]
    widths = _widths(rows, width)
    head = [Text(line) for line in _wrapped(overall(jobs), width)]
    head.append(_line({name: name for name in widths}, widths, "bold"))
    blocks = []
    for t, cells in zip(ordered, rows, strict=True):
        block = [_line(cells, widths, _STYLES.get(t.state, "bold"))]
        if t.message:
            block.append(Text(f"{GAP}{' '.join(t.message.split())}", style="red" if t.state == "failed" else ""))
        blocks.append(block)
    room = max(1, height - len(head))
    if sum(map(len, blocks)) > room:
        room -= 1  # for the line that counts the others
        if sum(len(block) for t, block in zip(ordered, blocks, strict=True) if order.get(t.state, 0) < 3) > room:
            blocks = [block[:1] for block in blocks]
    shown: list[Text] = []
    for done, block in enumerate(blocks):
        if len(shown) + len(block) > room:
            shown.append(Text(f"and {_counts(ordered[done:])}", style="dim"))
            break
        shown += block
    view = [*head, *shown][:height]
    for line in view:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return view


def _widths(rows: Sequence[dict[str, str]], width: int) -> dict[str, int]:
    """The columns that fit `width`, and their widths. A label may be left out only where all jobs have the same."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in (*LABELS, *NUMBERS)} if rows else {}
    same = {name for name in LABELS if len({row[name] for row in rows}) == 1}
    if "variant" in same:
        del widths["variant"]

    def excess() -> int:
        return sum(widths.values()) + len(GAP) * (len(widths) - 1) - width

    for name in DROPPED:
        if excess() > 0 and (name in NUMBERS or name in same):
            widths.pop(name, None)
    for name in ("variant", "task"):
        if name in widths and excess() > 0:
            widths[name] = max(min(NARROWEST, widths[name]), widths[name] - excess())
    return widths


def _line(cells: Mapping[str, str], widths: Mapping[str, int], style: str) -> Text:
    """One row; `style` is that of its state, or of all of a header."""
    from rich.text import Text

    line = Text(style=style if cells["state"] == "state" else "")
    for name, width in widths.items():
        cell = Text(cells[name], style=style if name == "state" else "")
        cell.truncate(width, overflow="ellipsis")
        cell.align("right" if name in NUMBERS else "left", width)
        line.append_text(cell).append("" if name == list(widths)[-1] else GAP)
    return line


def _wrapped(summary: str, width: int) -> list[str]:
    """The summary in lines, cut between its parts where that is possible."""
    parts, wrapped = summary.split(" | "), [""]
    for part in parts:
        joined = f"{wrapped[-1]} | {part}" if wrapped[-1] else part
        if len(joined) <= width:
            wrapped[-1] = joined
        else:
            wrapped += textwrap.wrap(part, width)
    return [line for line in wrapped if line]


def _counts(jobs: Sequence[Shown]) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(t.state for t in jobs).items())


def overall(jobs: Sequence[Shown]) -> str:
    """One line on all jobs: states, share of the env steps that is done, speed, and the time that is left at it."""
    total = sum(t.job.env_steps for t in jobs)
    done = sum(t.job.env_steps if t.state in DONE else t.status.get("env_steps") or 0 for t in jobs)
    speed = sum(t.status.get("steps_per_s") or 0.0 for t in jobs if t.state == "training")
    parts = [f"{len(jobs)} runs: {_counts(jobs)}"]
    if total:
        parts.append(f"{done / total:.0%} of {_count(total)} env steps")
    if speed and done < total:
        parts.append(f"{_count(speed)} steps/s, about {clock((total - done) / speed)} left")
    return " | ".join(parts)


def _labels(t: Shown) -> dict[str, str]:
    job = t.job
    return {"task": job.task, "algo": job.algo, "variant": job.variant, "seed": str(job.seed), "state": t.state}


def _cells(t: Shown) -> dict[str, str]:
    status = t.status
    total, done = status.get("total_env_steps"), status.get("env_steps")
    return {
        "steps": f"{_count(done)}/{_count(total)}" if total else "",
        "steps/s": _count(status.get("steps_per_s")),
        "return": _number(status.get("return_mean"), ".1f"),
        "success": _number(status.get("success_mean"), ".2f"),
        "left": clock(status.get("eta_s")),
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


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds; '' for None."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
