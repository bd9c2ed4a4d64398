"""The pictures of a report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestling.errors import require_extra

INK, FAINT, RIGHT, WRONG = "#1d2733", "#c9d1da", "#2a9d63", "#d1495b"
COLOURS = ("#d9660b", "#2563a8", "#6b7a8c", "#8e5bb5", "#3a8f7d", "#b08a1e", "#c2416b", "#1d2733")
_APART = 1.4  # dims that are nearer than that have no room for two numbers
_STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eef1f4",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "nestling",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A system's values over dims; not `joined`, they are points of separate models."""

    name: str
    dims: Sequence[int]
    values: Sequence[float]
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """One system minus another over dims, each with its interval."""

    name: str
    dims: Sequence[int]
    values: Sequence[float]
    intervals: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Neighbors:
    """A query image with the images found for it by several prefixes, best first.

    Attributes:
        query: (c, h, w) bytes.
        label: the query's class.
        found: dim → (k, c, h, w) bytes.
        right: dim → (k,) whether the image has the query's class.
    """

    query: np.ndarray
    label: str
    found: Mapping[int, np.ndarray]
    right: Mapping[int, np.ndarray]


def over_dims(panels: Mapping[str, Sequence[Line]], *, ylabel: str) -> str:
    """One panel per title: values over the prefix's width, on a log₂ axis."""
    figure, axes = _figure(len(panels), height=3.9)
    names = list(dict.fromkeys(line.name for lines in panels.values() for line in lines))
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for line in lines:
            colour = COLOURS[names.index(line.name) % len(COLOURS)]
            first = line.name == names[0]
            axis.plot(
                line.dims,
                [100 * v for v in line.values],
                marker="o" if line.joined else "D",
                markersize=5 if line.joined else 8,
                markerfacecolor=colour if line.joined else "none",
                linewidth=0 if not line.joined else 2.6 if first else 1.6,
                color=colour,
                label=line.name,
                zorder=4 if not line.joined else 3 if first else 2,
            )
        dims = sorted({m for line in lines for m in line.dims})
        ticks = [m for m, wider in zip(dims, [*dims[1:], 2 * dims[-1]], strict=True) if wider > _APART * m]
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(m) for m in ticks])
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlabel("dims")
    axes[0].set_ylabel(ylabel)
    axes[-1].legend(frameon=False, loc="lower right")
    return _svg(figure)


def differences(panels: Mapping[str, Sequence[Difference]], *, ylabel: str) -> str:
    """One panel per title: differences over the prefix's width with their intervals, side by side around zero."""
    figure, axes = _figure(len(panels), height=3.6)
    names = list(dict.fromkeys(each.name for lines in panels.values() for each in lines))
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        axis.axhline(0, color=INK, linewidth=1)
        for each in lines:
            place = names.index(each.name)
            shift = 2 ** (0.14 * (place - (len(names) - 1) / 2))
            values = 100 * np.array(each.values)
            low, high = 100 * np.array(each.intervals).T
            axis.errorbar(
                [m * shift for m in each.dims],
                values,
                yerr=np.maximum([values - low, high - values], 0),
                color=COLOURS[place % len(COLOURS)],
                marker="o",
                markersize=5,
                linewidth=0,
                elinewidth=1.6,
                capsize=2.5,
                label=each.name,
            )
        dims = sorted({m for each in lines for m in each.dims})
        axis.set_xscale("log", base=2)
        axis.set_xticks(dims, [str(m) for m in dims])
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlabel("dims")
    axes[0].set_ylabel(ylabel)
    axes[-1].legend(frameon=False, loc="lower right", fontsize=8.5)
    return _svg(figure)


def over_cost(points: Mapping[str, tuple[float, float]], *, bold: Sequence[str], xlabel: str, ylabel: str) -> str:
    """Quality over cost, one labelled point per search; those in `bold` stand out, the others form a line."""
    figure, (axis,) = _figure(1, height=4.2)
    plain = sorted(xy for name, xy in points.items() if name not in bold)
    axis.plot(*zip(*plain, strict=True), color=COLOURS[1], marker="o", linewidth=1.6, label="one prefix alone")
    for i, name in enumerate(bold):
        axis.scatter(*points[name], s=90, marker="D*^sP"[i % 5], color=COLOURS[(0, 3, 4)[i % 3]], label=name, zorder=4)
    for name, (x, y) in points.items():
        if name not in bold:
            axis.annotate(name, (x, y), textcoords="offset points", xytext=(6, -13), fontsize=8.5, color="#5b6875")
    axis.set_xscale("log")
    axis.margins(y=0.16)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.legend(frameon=False, loc="lower right")
    return _svg(figure)


@dataclass(frozen=True, slots=True)
class Measured:
    """A search: its quality with an interval, and its time.

    Attributes:
        name: what to call it.
        value, low, high: between 0 and 1.
        time_ms: of one query.
        bold: whether it stands out.
    """

    name: str
    value: float
    low: float
    high: float
    time_ms: float
    bold: bool = False


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    joined: bool = True,
    frontier: Sequence[tuple[float, float]] = (),
) -> str:
    """One line, or one cloud of points, per name over a cost on a log axis; and the steps of a Pareto frontier."""
    figure, (axis,) = _figure(1, height=4.4)
    if frontier:
        axis.step(*zip(*sorted(frontier), strict=True), where="post", color=INK, linewidth=1, label="Pareto frontier")
    for place, (name, points) in enumerate(lines.items()):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        marker, width = "o" if place else "D", 1.8 if joined else 0
        colour = COLOURS[place % len(COLOURS)]
        axis.plot(xs, ys, marker=marker, markersize=5, linewidth=width, color=colour, label=name, alpha=0.9)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(require_extra("matplotlib.ticker").LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.legend(frameon=False, loc="lower right")
    return _svg(figure)


def over_time(points: Sequence[Measured], *, wish: float, ylabel: str, form: str = "svg") -> bytes:
    """Quality with its intervals over time, and the quality that was wished for.

    Args:
        form: "svg" or "png".
    """
    figure, (axis,) = _figure(1, height=4.6)
    ordered = sorted(points, key=lambda point: point.time_ms)
    times, values = [p.time_ms for p in ordered], [100 * p.value for p in ordered]
    reach = [[100 * (p.value - p.low) for p in ordered], [100 * (p.high - p.value) for p in ordered]]
    bars = {"yerr": np.maximum(reach, 0), "ecolor": COLOURS[2], "capsize": 3}
    axis.errorbar(times, values, **bars, color=COLOURS[1], marker="o", linewidth=1.6)
    axis.axhline(100 * wish, color=COLOURS[2], linewidth=1, linestyle="--", label=f"wished for: {100 * wish:g}")
    for point in ordered:
        if point.bold:
            place = point.time_ms, 100 * point.value
            axis.scatter(*place, s=110, marker="D", color=COLOURS[0], label=point.name, zorder=4)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.margins(y=0.12)
    axis.set_xlabel("milliseconds a query")
    axis.set_ylabel(ylabel)
    axis.legend(frameon=False, loc="lower right", fontsize=8.5, markerscale=0.6)
    return _svg(figure).encode() if form == "svg" else _png(figure)


def per_class(values: Mapping[str, Mapping[str, float]], *, xlabel: str) -> str:
    """A dumbbell per class: series → class → value, classes sorted by the first series."""
    series = list(values)
    classes = sorted(values[series[0]], key=lambda c: values[series[0]][c])
    figure, (axis,) = _figure(1, height=0.42 * len(classes) + 1.2)
    heights = np.arange(len(classes))
    low = [100 * min(values[s][c] for s in series) for c in classes]
    high = [100 * max(values[s][c] for s in series) for c in classes]
    axis.hlines(heights, low, high, color=FAINT, linewidth=2, zorder=1)
    for i, name in enumerate(series):
        shown = [100 * values[name][c] for c in classes]
        axis.scatter(shown, heights, s=46, color=COLOURS[i], label=name, zorder=2 + i)
    axis.set_yticks(heights, classes)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(xlabel)
    axis.legend(frameon=False, loc="lower right")
    return _svg(figure)


def retrieved(strip: Sequence[Neighbors]) -> str:
    """Query images, and beside each what every prefix finds: framed green where the class is right, red where not."""
    dims = list(strip[0].found)
    places = len(strip[0].found[dims[0]])
    pyplot = _pyplot()
    with pyplot.rc_context(_STYLE):
        figure, grid = pyplot.subplots(
            len(strip) * len(dims),
            places + 2,
            figsize=(9.6, 0.78 * len(strip) * len(dims)),
            gridspec_kw={"wspace": 0.08, "hspace": 0.1, "width_ratios": [1.15, 0.75, *[1] * places]},
        )
        for axis in grid.flat:
            axis.set_axis_off()
        for s, row in enumerate(strip):
            _picture(grid[s * len(dims), 0], row.query, INK)
            grid[s * len(dims) + 1, 0].text(0.5, 1.0, row.label, ha="center", va="top", fontsize=9)
            for i, m in enumerate(dims):
                line = grid[s * len(dims) + i]
                line[1].text(0.9, 0.5, f"{m} dims", ha="right", va="center", fontsize=8.5)
                for axis, image, right in zip(line[2:], row.found[m], row.right[m], strict=True):
                    _picture(axis, image, RIGHT if right else WRONG)
        return _svg(figure)


def _picture(axis: Any, image: np.ndarray, frame: str) -> None:
    axis.set_axis_on()
    axis.grid(visible=False)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(visible=True, color=frame, linewidth=2.2)
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    axis.imshow(pixels, cmap="gray_r", interpolation="nearest", vmin=0, vmax=255)


def _figure(panels: int, *, height: float) -> tuple[Any, Sequence[Any]]:
    pyplot = _pyplot()
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1, panels, figsize=(9.6, height), sharey=True, squeeze=False)
    return figure, list(axes[0])


def _svg(figure: Any) -> str:
    pyplot = _pyplot()
    text = io.StringIO()
    with pyplot.rc_context(_STYLE):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None}, dpi=80)
    pyplot.close(figure)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _png(figure: Any) -> bytes:
    pyplot = _pyplot()
    data = io.BytesIO()
    with pyplot.rc_context(_STYLE):
        figure.savefig(data, format="png", bbox_inches="tight", metadata={"Software": None}, dpi=160)
    pyplot.close(figure)
    return data.getvalue()


def _pyplot() -> Any:
    require_extra("matplotlib").use("agg")
    return require_extra("matplotlib.pyplot")
