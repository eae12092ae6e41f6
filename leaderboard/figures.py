"""Learning curves as inline SVG that takes its colours and fonts from the page's style sheet, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, PercentFormatter

from leaderboard.board import TaskRow

BINS = 80
SERIES_COLOURS = 8  # --series-0 to --series-7 of the style sheet; further lines repeat them dashed

# Colours that stand for the style sheet's while matplotlib draws; chosen to be unlike anything it draws by itself.
INK, RULE = "#010203", "#010204"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be selected
    "svg.hashsalt": "gradus",  # the same ids every time
    "font.size": 8.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "text.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.spines.bottom": False,
}


def has_curve(row: TaskRow) -> bool:
    """True if a learning curve can be drawn: some run was trained, and some episode of its training ended."""
    return any(run.curve is not None and np.isfinite(run.curve["success_mean"]).any() for run in row.runs)


def learning_curves(rows: Sequence[TaskRow], series: Sequence[int], name: str) -> str:
    """SVG of the training success of each row over env steps: mean over seeds, shaded from lowest to highest seed.

    `series` numbers each row's colour. `name` prefixes every id, since all figures share one page; the line and
    the shade of row i are in groups of class `line-<i>`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for i, (row, number) in enumerate(zip(rows, series, strict=True)):
            before = len(axes.collections)
            sns.lineplot(
                binned(row),
                x="env_steps",
                y="success",
                ax=axes,
                errorbar=("pi", 100),
                color=_stand_in(number),
                linewidth=1.6,
                linestyle="-" if number < SERIES_COLOURS else (0, (3, 1.5)),
                err_kws={"linewidth": 0, "alpha": 0.18},
            )
            axes.lines[-1].set_gid(f"line-{i}")
            for band in axes.collections[before:]:
                band.set_gid(f"band-{i}")
        axes.set(xlabel="env steps", ylabel="", ylim=(-0.02, 1.02))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(EngFormatter(sep="\u2009"))
        axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(text.getvalue(), name)


def binned(row: TaskRow) -> pd.DataFrame:
    """Mean training success in equal bins of env steps: columns env_steps (the bin's end), success, seed.

    Binning puts the seeds on common steps and smooths what few episodes an iteration make jump.
    """
    curves = {run.seed: run.curve for run in row.runs if run.curve is not None}
    last = max(curve["env_steps"].max(initial=0) for curve in curves.values())
    edges = np.linspace(0, last, BINS + 1)
    parts = []
    for seed, curve in curves.items():
        known = np.isfinite(curve["success_mean"])  # no episode ended in the others
        index = np.clip(np.searchsorted(edges, curve["env_steps"][known], side="left") - 1, 0, BINS - 1)
        part = pd.DataFrame({"bin": index, "success": curve["success_mean"][known]}).groupby("bin").mean()
        parts.append(pd.DataFrame({"env_steps": edges[part.index + 1], "success": part["success"], "seed": seed}))
    return pd.concat(parts, ignore_index=True)


def _stand_in(number: int) -> str:
    return f"#0102{0x10 + number % SERIES_COLOURS:02x}"


def _for_page(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, count=1)  # the page scales it
    svg = re.sub(r'id="(line|band)-(\d+)"', r'class="line-\2"', svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace(INK, "var(--muted)").replace(RULE, "var(--rule)")
    return re.sub(r"#0102(1[0-7])", lambda m: f"var(--series-{int(m[1], 16) - 0x10})", svg)
