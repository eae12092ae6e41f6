"""seaborn figures as inline SVG that takes its colours and fonts from the page's style sheet, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, PercentFormatter

from leaderboard.board.perturbed import RobustRow
from leaderboard.board.ranking import RankRow, improvement
from leaderboard.board.rows import TaskRow, generator, rates
from leaderboard.stats import intervals, statistics
from tasks.spec import GRADES

SERIES_COLOURS = 8  # --series-0 to --series-7 of the style sheet; further lines repeat them dashed, then dotted
DASHES = ("-", (0, (3, 1.5)), (0, (1, 1.2)))
THRESHOLDS = np.linspace(0, 1, 51)
BAND_RESAMPLES = 500
PANELS_ACROSS = 4

# Colours that stand for the style sheet's while matplotlib draws; chosen to be unlike anything it draws by itself.
INK, RULE, SHADE, STRONG = "#010203", "#010204", "#010205", "#010206"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be selected
    "text.parse_math": False,  # settings may hold a $
    "svg.hashsalt": "gradus",  # the same ids every time
    "font.size": 8.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
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
    return any(run.curve is not None and np.isfinite(run.curve.success).any() for run in row.runs)


def learning_curves(rows: Sequence[TaskRow], series: Sequence[int], name: str) -> str:
    """SVG of the training success of each row over env steps: mean over seeds, shaded from lowest to highest seed.

    `series` numbers each row's colour. `name` prefixes every id, since all figures share one page; the line and
    the shade of row i are in groups of class `line-<i>`.
    """

    def draw(axes: Axes) -> None:
        lines = {}
        for i, row in enumerate(rows):
            curves = [run.curve for run in row.runs if run.curve is not None]
            success = np.stack([curve.success for curve in curves])
            known = np.isfinite(success).any(axis=0)
            steps, success = np.mean([curve.env_steps for curve in curves], axis=0)[known], success[:, known]
            limits = np.nanmin(success, axis=0), np.nanmax(success, axis=0)
            lines[i] = steps, np.nanmean(success, axis=0), limits
        _draw_lines(axes, lines, series)
        axes.set(xlabel="env steps")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(EngFormatter(sep="\u2009"))

    return _figure(draw, name)


def performance_profile(rows: Sequence[RankRow], series: Sequence[int], name: str) -> str:
    """SVG of the share of runs and grades above each success, with pointwise 95 % bands."""

    def draw(axes: Axes) -> None:
        lines = {}
        for i, row in enumerate(rows):
            drawn = intervals.resample_seeds(rates(row.rows), generator("profile", row.entry), BAND_RESAMPLES)
            point = statistics.performance_profile(rates(row.rows), THRESHOLDS)
            bands = np.concatenate([_profiles([d[a : a + 50] for d in drawn]) for a in range(0, BAND_RESAMPLES, 50)])
            lines[i] = THRESHOLDS, point, _limits(bands)
        _draw_lines(axes, lines, series)
        axes.set(xlabel="success above", xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))

    return _figure(draw, name)


def _profiles(drawn: Sequence[np.ndarray]) -> np.ndarray:
    return statistics.performance_profile(drawn, THRESHOLDS)


def sample_efficiency(rows: Sequence[RankRow], series: Sequence[int], name: str) -> str:
    """SVG of mean training success over the share of the training that is done, with pointwise 95 % bands."""

    def draw(axes: Axes) -> None:
        lines = {}
        for i, row in enumerate(rows):
            curves = [
                np.stack(c) for r in row.rows if (c := [_filled(run.curve.success) for run in r.runs if run.curve])
            ]
            if not curves:
                continue
            share = np.arange(1, curves[0].shape[-1] + 1) / curves[0].shape[-1]
            drawn = intervals.resample_seeds(curves, generator("efficiency", row.entry), BAND_RESAMPLES)
            bands = statistics.sample_efficiency(drawn)
            lines[i] = share, statistics.sample_efficiency(curves), _limits(bands)
        _draw_lines(axes, lines, series)
        axes.set(xlabel="share of the training's env steps", xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))

    return _figure(draw, name)


def grades(rows: Sequence[RankRow], series: Sequence[int], name: str) -> str:
    """SVG of success by grade, mean over tasks, with the 95 % interval of each."""

    def draw(axes: Axes) -> None:
        for i, (row, number) in enumerate(zip(rows, series, strict=True)):
            x = np.arange(len(GRADES)) + (i - (len(rows) - 1) / 2) * 0.06
            errors = [[c.success for c in r.cells] for r in row.rows]
            # Independent tasks: their limits' distances add up in squares (Zou and Donner, 2008).
            below = [sum((e[g].value - e[g].low) ** 2 for e in errors) ** 0.5 / len(errors) for g in range(len(GRADES))]
            above = [
                sum((e[g].high - e[g].value) ** 2 for e in errors) ** 0.5 / len(errors) for g in range(len(GRADES))
            ]
            line = axes.errorbar(x, row.grades, yerr=[below, above], marker="o", markersize=3.5, **_line(number))
            line.lines[0].set_gid(f"line-{i}")
            for bars in line.lines[2]:
                bars.set_gid(f"band-{i}")
                bars.set_linewidth(1)
        axes.set(xlabel="grade", ylabel="")
        axes.xaxis.set_major_locator(FixedLocator(range(len(GRADES))))
        axes.set_xticklabels(GRADES)

    return _figure(draw, name)


def improvement_matrix(rows: Sequence[RankRow], labels: Sequence[str], name: str) -> str:
    """SVG of the probability that a run of the row beats one of the column, in percent."""
    chances = np.array([[np.nan if a is b else improvement(a, b) for b in rows] for a in rows])

    def draw(axes: Axes) -> None:
        shown = np.vectorize(lambda p: "" if np.isnan(p) else f"{100 * p:.0f}")(chances)
        sns.heatmap(
            chances,
            ax=axes,
            vmin=0,
            vmax=1,
            cmap=HEAT,
            cbar=False,
            annot=shown,
            fmt="",
            linewidths=1,
            linecolor="none",
            annot_kws={"color": STRONG},
        )
        axes.set_xticklabels(labels, rotation=35, ha="right")
        axes.set_yticklabels(labels, rotation=0)

    return _figure(draw, name, height=0.7 + 0.34 * len(rows), percent=False)


def magnitudes(
    rows: Sequence[RobustRow], series: Sequence[int], shades: dict[str, tuple[float, float]], name: str
) -> str:
    """SVG of success against each factor's value, a small panel a factor; its training range in `shades` is shaded."""
    factors = list(dict.fromkeys(f.name for row in rows for f in row.factors if f.values))
    lines = -(-len(factors) // PANELS_ACROSS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.75 * lines), layout="constrained")
        panels = np.atleast_1d(figure.subplots(lines, PANELS_ACROSS, sharey=True)).ravel()
        for axes, factor in zip(panels, factors, strict=False):
            if factor in shades:
                axes.axvspan(*shades[factor], color=SHADE, linewidth=0)
            lines = {}
            for i, row in enumerate(rows):
                for found in (f for f in row.factors if f.name == factor and f.values):
                    value, *limits = np.transpose([(e.value, e.low, e.high) for e in found.success])
                    lines[i] = found.values, value, limits
            _draw_lines(axes, lines, series)
            axes.set(title=factor, ylim=(-0.03, 1.03))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            _percent(axes)
        for axes in panels[len(factors) :]:
            axes.set_visible(False)
        return _svg(figure, name)


HEAT = ListedColormap([f"#0103{level:02x}" for level in range(101)])


def _line(number: int) -> dict[str, Any]:
    dashes = DASHES[min(number // SERIES_COLOURS, len(DASHES) - 1)]
    return {"color": _stand_in(number), "linewidth": 1.6, "linestyle": dashes}


def _stand_in(number: int) -> str:
    return f"#0102{0x10 + number % SERIES_COLOURS:02x}"


def _limits(draws: np.ndarray) -> np.ndarray:
    """Pointwise 95 % limits [2, points] from bootstrap draws [resamples, points]."""
    return np.quantile(draws, (0.025, 0.975), axis=0)


def _draw_lines(
    axes: Axes, lines: Mapping[int, tuple[Sequence[float], np.ndarray, Sequence[np.ndarray]]], series: Sequence[int]
) -> None:
    """Lines (x, y, limits) and the shades between their limits, line i in the colour that `series[i]` numbers."""
    data = [pd.DataFrame({"x": x, "y": y, "line": i}) for i, (x, y, _) in lines.items()]
    colours = {i: _stand_in(series[i]) for i in lines}
    if data:
        whole = pd.concat(data, ignore_index=True)
        sns.lineplot(whole, x="x", y="y", hue="line", palette=colours, estimator=None, legend=False, ax=axes)
    for drawn, (i, (x, _, limits)) in zip(axes.lines, lines.items(), strict=True):
        drawn.set(gid=f"line-{i}", **_line(series[i]))
        low, high = limits
        axes.fill_between(x, low, high, color=colours[i], linewidth=0, alpha=0.16).set_gid(f"band-{i}")
    axes.set(xlabel="", ylabel="")


def _filled(success: np.ndarray) -> np.ndarray:
    """Training success [points] without gaps: the last known value, and 0 before an episode has ended."""
    last = np.maximum.accumulate(np.where(np.isfinite(success), np.arange(len(success)), -1))
    return np.where(last >= 0, success[last], 0.0)


def _figure(draw: Callable[[Axes], None], name: str, height: float = 2.7, percent: bool = True) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if percent:
            axes.set_ylim(-0.02, 1.02)
            _percent(axes)
        axes.tick_params(length=0)
        return _svg(figure, name)


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)


def _svg(figure: Figure, name: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, count=1)  # the page scales it
    svg = re.sub(r'id="(line|band)-(\d+)"', r'class="line-\2"', svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = (
        svg.replace(INK, "var(--muted)")
        .replace(RULE, "var(--rule)")
        .replace(SHADE, "var(--raised)")
        .replace(STRONG, "var(--ink)")
    )
    svg = re.sub(r"#0102(1[0-7])", lambda m: f"var(--series-{int(m[1], 16) - 0x10})", svg)
    mix = "color-mix(in oklab, var(--heat) {}%, var(--paper))"
    return re.sub(r"#0103([0-6][0-9a-f])", lambda m: mix.format(int(m[1], 16)), svg)
