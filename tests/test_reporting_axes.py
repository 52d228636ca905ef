"""Axes of charts for every range of values: plain numbers without overlap."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scheduler_service.reporting import figures
from scheduler_service.reporting.formatting import report_texts

WORDS = report_texts("zh")
RATIOS = [1.0, 1.3, 5.0, 19.0, 21.0, 60.0, 200.0, 900.0, 1e4, 1e6]


def values(ratio: float, n: int) -> "pd.Series[float]":
    """From 55 to `ratio` times that, most of them near the beginning."""
    chance = np.random.default_rng(1)
    inner = 55.0 * np.minimum(1.0 + chance.gamma(1.0, 0.05, max(0, n - 2)), ratio)
    return pd.Series([55.0, *inner, 55.0 * ratio][:n])


def charts(ratio: float, n: int):
    groups = {"DDQN v1.0": values(ratio, n), "DDQN v2.0": values(ratio, n)}
    yield figures.boxes(groups, "工期（小时）", WORDS, scale="log"), "x"
    yield figures.cumulative(groups, "工期（小时）", WORDS, scale="log"), "x"
    start = pd.Timestamp("2026-11-01", tz="UTC")
    index = pd.date_range(start, periods=max(2, n), freq="h")[:n]
    buckets = pd.DataFrame({name: values(ratio, n).to_numpy() / 1e4 for name in ("p50", "p95", "p99")}, index=index)
    yield figures.latency(buckets, WORDS, (start, start + pd.Timedelta(hours=max(2, n)))), "y"


@pytest.mark.parametrize("n", [1, 2, 3_000])
@pytest.mark.parametrize("ratio", RATIOS)
def test_an_axis_has_a_few_plain_numbers_without_overlap(ratio, n):
    for drawn, side in charts(ratio, n):
        FigureCanvasAgg(drawn).draw()
        axis = getattr(drawn.axes[0], f"{side}axis")
        low, high = axis.get_view_interval()
        shown = [
            tick
            for which in ("majorTicks", "minorTicks")
            for tick in getattr(axis, f"get_{which[:5]}_ticks")()
            if tick.label1.get_text() and low <= tick.get_loc() <= high
        ]
        texts = [tick.label1.get_text() for tick in shown]
        assert not any("$" in text or "e+" in text for text in texts), texts
        assert len(texts) >= 2, (ratio, n, side, texts)
        boxes = sorted((tick.label1.get_window_extent() for tick in shown), key=lambda box: (box.x0, box.y0))
        if side == "x":
            assert all(left.x1 < right.x0 for left, right in pairwise(boxes)), texts
        else:
            boxes.sort(key=lambda box: box.y0)
            assert all(lower.y1 < upper.y0 + 1.0 for lower, upper in pairwise(boxes)), texts
