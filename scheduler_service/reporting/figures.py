"""The charts of the reports, as SVG or PNG: matplotlib figures, boxes and distributions drawn by seaborn.

Both libraries are imported inside the functions: that takes seconds, and only reports need them.
"""

import base64
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from scheduler_env.fonts import use_cjk_font
from scheduler_env.gantt import INK
from scheduler_service.reporting import look
from scheduler_service.reporting.analysis import UNKNOWN_MODEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRINT_SCALE = 0.74
"""Charts for a PDF are laid out at this scale: smaller charts have larger text in proportion."""
PRINT_DPI = 240
MAX_DOTS = 150
"""Dots drawn over a box; more would hide it."""
MAX_STEPS = 200
"""Steps of a distribution's curve: more are not visible, and a hundred thousand would make a page of megabytes."""
MAX_MARKS = 200
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""Styles beside the colours of models."""

Groups = Mapping[str, "pd.Series[Any]"]


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks on the charts over time; none by default."""

    alerts: Sequence[tuple[datetime, datetime, bool]] = ()  # from, to, whether critical
    buckets: Mapping[str, Sequence[datetime]] = field(default_factory=dict)  # by metric, those with an anomalous mean
    runs: Sequence[datetime] = ()  # those with an anomalous gap


NO_MARKS = Marks()


def data_uri(drawn: "Figure") -> str:
    """`drawn` as the source of an image: SVG with text as paths, so that it needs no font."""
    data = BytesIO()
    with use_cjk_font():
        drawn.savefig(data, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(data.getvalue()).decode()}"


def png(drawn: "Figure", width_mm: float) -> bytes:
    """`drawn` as a PNG to be printed `width_mm` wide."""
    data, size = BytesIO(), drawn.get_size_inches()
    with use_cjk_font():
        drawn.set_size_inches(*(PRINT_SCALE * size))
        drawn.savefig(data, format="png", dpi=PRINT_DPI * width_mm / 25.4 / (PRINT_SCALE * size[0]))
        drawn.set_size_inches(*size)
    return data.getvalue()


@contextmanager
def _seaborn() -> Iterator[Any]:
    """seaborn with seeded jitter, so that the same report gives the same bytes."""
    import numpy as np
    import seaborn

    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            # seaborn 0.13 passes an argument that Matplotlib 3.11 deprecates.
            warnings.filterwarnings("ignore", message="vert: bool was deprecated")
            yield seaborn
    finally:
        np.random.set_state(state)


@use_cjk_font()
def boxes(
    groups: Groups,
    axis_label: str,
    words: look.Words,
    *,
    is_share: bool = False,
    colour: str | None = None,
    limits: Mapping[str, float] | None = None,
    scale: look.Scale = "linear",
) -> "Figure":
    """A box plot of each group, whiskers up to 1.5 box lengths, with at most 150 of its values as dots.

    Groups without values are left out.

    Args:
        is_share: the values are shares, shown as percent.
        colour: of all boxes; the models' colours by default.
        limits: group -> limit of its mean, in the unit of the values; the means are then drawn as well.
    """
    import pandas as pd

    present = _present(groups)
    drawn, axes = look.chart(look.HALF, 0.9 + 0.52 * max(2, len(present)))
    if not present:
        return look.nothing(drawn, axes, words)
    order = [str(place) for place in range(len(present))]
    dots = [values.sample(min(MAX_DOTS, len(values)), random_state=0) for values in present.values()]
    boxed, dotted = (
        pd.concat(dict(zip(order, each, strict=True)), names=["group"]).rename("value").reset_index(level=0)
        for each in (present.values(), dots)
    )
    palette = [colour or look.MODEL_COLOURS[place % len(look.MODEL_COLOURS)] for place in range(len(order))]
    common: dict[str, Any] = {"x": "value", "y": "group", "order": order, "orient": "h", "legend": False, "ax": axes}
    with _seaborn() as sns:
        sns.boxplot(
            boxed, **common, hue="group", hue_order=order, palette=palette, saturation=1.0, width=0.55,
            showfliers=False, linecolor=INK, linewidth=1.0, boxprops={"alpha": 0.75}, medianprops={"linewidth": 1.6},
        )  # fmt: skip
        sns.stripplot(dotted, **common, jitter=0.2, size=2.2, color=INK, alpha=0.35, zorder=3)
    if limits is not None:
        _means_and_limits(axes, present, limits, words)
    shown_limits = [limit for name, limit in (limits or {}).items() if name in present]
    look.rescale(axes, pd.concat([boxed["value"], pd.Series(shown_limits, dtype="float64")]), scale)
    if is_share:
        axes.xaxis.set_major_formatter(look.percent_text)
    axes.set_yticks(range(len(order)), [look.label(name, 26) for name in present])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set(xlabel=axis_label, ylabel="")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    return drawn


def _present(groups: Groups) -> Groups:
    """The groups with values, without what is missing in them."""
    return {name: known for name, values in groups.items() if len(known := values.dropna())}


def _means_and_limits(axes: "Axes", groups: Mapping[str, Any], limits: Mapping[str, float], words: look.Words) -> None:
    """A diamond at each group's mean, and a line at its limit."""
    places = {name: place for place, name in enumerate(groups)}
    axes.plot(
        [values.mean() for values in groups.values()], list(places.values()), linestyle="none", marker="D",
        markersize=5.5, color="white", markeredgecolor=INK, markeredgewidth=1.2, label=words["mean_mark"], zorder=5,
    )  # fmt: skip
    held = [name for name in groups if name in limits]
    if held:
        axes.vlines(
            [limits[name] for name in held], [places[name] - 0.42 for name in held],
            [places[name] + 0.42 for name in held], color=look.RED, linewidth=2.4, label=words["limit_mark"], zorder=4,
        )  # fmt: skip
    look.legend_above(axes)


@use_cjk_font()
def cumulative(groups: Groups, axis_label: str, words: look.Words, *, scale: look.Scale = "linear") -> "Figure":
    """The empirical distribution function of each group, exact at up to 200 of its values."""
    import numpy as np
    import pandas as pd

    present = _present(groups)
    drawn, axes = look.chart(look.HALF, 3.0 + 0.2 * -(-len(present) // 2))
    if not present:
        return look.nothing(drawn, axes, words)
    with _seaborn() as sns:
        for place, (name, values) in enumerate(present.items()):
            ranks = np.unique(np.linspace(1, len(values), min(MAX_STEPS, len(values))).astype(int))
            sns.ecdfplot(
                x=values.sort_values().to_numpy()[ranks - 1], weights=np.diff(ranks, prepend=0), stat="percent",
                ax=axes, linewidth=1.8, color=look.MODEL_COLOURS[place % len(look.MODEL_COLOURS)],
                linestyle=LINES[place % len(LINES)], label=look.label(name, 22),
            )  # fmt: skip
    look.rescale(axes, pd.concat(present.values()), scale)
    axes.set_ylim(0.0, 101.0)
    axes.set(xlabel=axis_label, ylabel=words["axis_cumulative"])
    # Below the axes: inside, long names would hide the curves.
    drawn.legend(fontsize=8, frameon=False, ncols=2, loc="outside lower left", handlelength=3.2)
    return drawn


@use_cjk_font()
def trend(buckets: "pd.DataFrame", words: look.Words, period: look.Period, marks: Marks = NO_MARKS) -> "Figure":
    """The mean makespan with its confidence band, the mean gap, and the number of requests, one above the other."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    drawn = Figure(figsize=(look.FULL, 5.4), layout="constrained", facecolor="white")
    upper, middle, lower = drawn.subplots(3, 1, sharex=True, height_ratios=(2.0, 1.5, 1))
    for axes in (upper, middle, lower):
        look.style_axes(axes)
    means = buckets["makespan"].dropna()
    band = buckets[["low", "high"]].dropna()
    if len(band):
        upper.fill_between(band.index, band["low"], band["high"], color=look.BLUE, alpha=0.18, linewidth=0)
    upper.plot(means.index, means, color=look.BLUE, linewidth=1.8, marker="o", markersize=3.5)
    upper.set_ylabel(words["axis_makespan"])
    gaps = 100.0 * buckets["gap"].dropna()
    middle.plot(gaps.index, gaps, color=look.GREEN, linewidth=1.8, marker="o", markersize=3.5)
    middle.set_ylabel(words["axis_gap_short"])
    middle.set_ylim(0.0, 1.3 * max(gaps.max(), 0.1) if len(gaps) else 1.0)  # with room for the marks of runs
    mark_buckets(upper, means, marks.buckets.get("makespan", ()), words)
    mark_buckets(middle, gaps, marks.buckets.get("gap", ()), words)
    if marks.runs:
        middle.plot(
            list(marks.runs[:MAX_MARKS]), [0.97] * len(marks.runs[:MAX_MARKS]), linestyle="none", marker="v",
            markersize=5, color=look.RED, alpha=0.8, transform=middle.get_xaxis_transform(), label=words["run_mark"],
            clip_on=False,
        )  # fmt: skip
    width = _bar_width(buckets)
    good = buckets["requests"] - buckets["failures"]
    lower.bar(buckets.index, good, width=width, color=look.SKY, align="edge", label=words["succeeded"])
    lower.bar(
        buckets.index, buckets["failures"], width=width, bottom=good, color=look.RED, align="edge", hatch="///",
        edgecolor="white", linewidth=0, label=words["failed"],
    )  # fmt: skip
    for axes, values in ((upper, means), (middle, gaps)):
        if values.empty:
            look.show_text(axes, words["no_data"])
    lower.set_ylabel(words["requests"])
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axes in (upper, middle, lower):
        shade_alerts(axes, marks.alerts, words, is_named=axes is upper)
        if axes.get_legend_handles_labels()[1]:
            look.legend_above(axes, at_right=True)
    look.time_axis(lower, period)
    return drawn


def mark_buckets(axes: "Axes", values: "pd.Series[Any]", moments: Sequence[datetime], words: look.Words) -> None:
    """A ring around each of the `values` at these moments."""
    chosen = values[values.index.isin(list(moments))]
    if len(chosen):
        axes.plot(
            chosen.index, chosen, linestyle="none", marker="o", markersize=11, color="none", markeredgecolor=look.RED,
            markeredgewidth=2.0, label=words["bucket_mark"], zorder=4,
        )  # fmt: skip


def shade_alerts(
    axes: "Axes", spans: Sequence[tuple[datetime, datetime, bool]], words: look.Words, *, is_named: bool
) -> None:
    """Shade the times with alerts, those with critical ones darker and hatched; `is_named`: also in the legend."""
    named = set() if is_named else {False, True}
    for begin, end, is_critical in _united(spans)[:MAX_MARKS]:
        label = words["critical_span" if is_critical else "warning"]
        colour = look.RED if is_critical else look.ORANGE
        axes.axvspan(
            begin, end, facecolor=(colour, 0.25 if is_critical else 0.18), edgecolor=(colour, 0.6), linewidth=0.8,  # type: ignore[arg-type]
            hatch="///" if is_critical else None, label="_" if is_critical in named else label, zorder=0.5,
        )  # fmt: skip
        named.add(is_critical)


def _united(spans: Sequence[tuple[datetime, datetime, bool]]) -> list[tuple[datetime, datetime, bool]]:
    """Merge overlapping spans of the same severity, because overlapping shades would hide the chart."""
    united: list[tuple[datetime, datetime, bool]] = []
    for begin, end, is_critical in sorted(spans, key=lambda span: (not span[2], span[0])):
        if united and united[-1][2] == is_critical and begin <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]), is_critical)
        else:
            united.append((begin, end, is_critical))
    return united


@use_cjk_font()
def latency(buckets: "pd.DataFrame", words: look.Words, period: look.Period, marks: Marks = NO_MARKS) -> "Figure":
    """P50, P95 and P99 of the compute time, milliseconds."""
    drawn, axes = look.chart(look.HALF, 2.9)
    shown = buckets[["p50", "p95", "p99"]].dropna() * 1000.0
    if shown.empty:
        return look.nothing(drawn, axes, words)
    for name, colour, style in (("p99", look.RED, "-"), ("p95", look.ORANGE, "--"), ("p50", look.BLUE, "-")):
        axes.plot(
            shown.index, shown[name], color=colour, linestyle=style, linewidth=1.6, marker="o", markersize=2.8,
            label=name.upper(),
        )  # fmt: skip
    mark_buckets(axes, shown["p50"], marks.buckets.get("execution_time", ()), words)
    if shown["p99"].max() > 20.0 * max(shown["p50"].min(), 1e-9) and shown.min().min() > 0.0:
        axes.set_yscale("log")
        look.plain_numbers(axes.yaxis, float(shown["p99"].max() / shown.min().min()))
    else:
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel(words["axis_time"])
    look.legend_above(axes)
    look.time_axis(axes, period)
    return drawn


@use_cjk_font()
def hours(runs: "pd.DataFrame", words: look.Words) -> "Figure":
    """The number of requests by hour of the day."""
    from matplotlib.ticker import MaxNLocator

    drawn, axes = look.chart(look.HALF, 2.9)
    if runs.empty:
        return look.nothing(drawn, axes, words)
    counts = runs["timestamp"].dt.hour.value_counts().reindex(range(24), fill_value=0)
    axes.bar(counts.index, counts, color=look.BLUE, width=0.8)
    axes.set_xticks(range(0, 24, 3))
    axes.set_xlim(-0.6, 23.6)
    axes.set_xlabel(words["axis_hour"])
    axes.set_ylabel(words["requests"])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", visible=False)
    return drawn


@use_cjk_font()
def bars(shares: Mapping[str, float], axis_label: str, words: look.Words, *, colour: str, is_percent: bool) -> "Figure":
    """Horizontal bars with their values, in the order given; `is_percent`: the values are shares, shown as percent."""
    drawn, axes = look.chart(look.HALF, 0.9 + 0.3 * max(4, len(shares)))
    if not shares:
        return look.nothing(drawn, axes, words)
    names = [look.label(name, 34) for name in shares]
    values = [100.0 * value if is_percent else value for value in shares.values()]
    places = range(len(names))
    axes.barh(places, values, color=colour, height=0.62)
    axes.set_yticks(places, names)
    axes.set_ylim(max(4, len(names)) - 0.5, -0.5)  # so that a single bar does not fill the chart
    reach = max([*values, 1e-9])
    axes.set_xlim(0.0, reach * 1.16)
    for place, value in zip(places, values, strict=True):
        text = f"{value:.0f}%" if is_percent else f"{value:.0f}"
        axes.text(value + reach * 0.015, place, text, va="center_baseline", fontsize=8.5, color=INK)
    axes.set_xlabel(axis_label)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    return drawn


def values_by_model(runs: "pd.DataFrame", column: str, scale: float, words: look.Words) -> "dict[str, pd.Series[Any]]":
    """The values of successful runs for each of the five busiest models; the rest together."""
    good = runs[runs["success"]]
    models = good["model_key"].fillna(UNKNOWN_MODEL)
    busiest = list(models.value_counts().index)
    kept = busiest if len(busiest) <= len(look.MODEL_COLOURS) else busiest[: len(look.MODEL_COLOURS) - 1]
    groups = {str(model): good.loc[models == model, column] * scale for model in sorted(kept)}
    if len(kept) < len(busiest):
        groups[words["other_models"]] = good.loc[~models.isin(kept), column] * scale
    return groups


def _bar_width(buckets: "pd.DataFrame") -> Any:
    """Slightly less than the shortest distance between two buckets."""
    import pandas as pd

    steps = buckets.index.to_series().diff().dropna()
    return (steps.min() if len(steps) else pd.Timedelta(hours=1)) * 0.9
