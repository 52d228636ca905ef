# %% [markdown]
# # Recorded runs, looked at
#
# Cells for VS Code, PyCharm or `jupytext`; runs from top to bottom as a program, too: `.venv/bin/python
# examples/python/analysis.py`. It reads the service's own records (`SCHED_HOME`), so it runs where the service does;
# a client elsewhere has `GET /performance`. Figures go to `FIGURES_DIR`, `figures` if that is not set.

# %%
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

# The project's folder, where monitoring.py is: say another one here if this file lies elsewhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from monitoring import ABTestAnalyzer, PerformanceMonitor

DAYS = 7
EXPERIMENT = os.environ.get("EXPERIMENT", "")
figures_dir = Path(os.environ.get("FIGURES_DIR", "figures"))
figures_dir.mkdir(parents=True, exist_ok=True)
monitor = PerformanceMonitor()

# %% [markdown]
# ## The runs of the last days, a row each

# %%
recorded = monitor.get_performance_data(start_time=datetime.now() - timedelta(days=DAYS), experiment=EXPERIMENT or None)
runs = recorded[recorded["success"]].assign(time=lambda runs: pd.to_datetime(runs["timestamp"], utc=True))
print(f"{len(recorded)} runs, {1 - recorded['success'].mean():.1%} of them failed" if len(recorded) else "no runs")
print(runs.groupby("model_key")[["makespan", "gap", "execution_time"]].describe().T.to_string())

# %% [markdown]
# ## How good the schedules were
#
# The makespan depends on the plant first of all; the gap to the lower bound says how much of it could be saved at most.


# %%
def gaps_by_size(runs: pd.DataFrame) -> Figure:
    """Share of the runs whose gap is at most so large, a line for each number of work points."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="gap to the lower bound, %", ylabel="share of the runs")
    shown = runs.assign(percent=100 * runs["gap"].astype(float), size=runs["n_workpoints"].astype(str))
    sns.ecdfplot(shown, x="percent", hue="size", ax=axes)
    if legend := axes.get_legend():
        legend.set_title("work points")
    return figure


def makespan_over_time(runs: pd.DataFrame) -> Figure:
    """Each run's makespan, coloured by the model that answered."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot(ylabel="makespan, h")
    sns.scatterplot(runs, x="time", y="makespan", hue="model_key", s=18, linewidth=0, alpha=0.7, ax=axes)
    axes.set_xlabel("")
    axes.tick_params(axis="x", rotation=30)
    return figure


for name, draw in (("gaps_by_size", gaps_by_size), ("makespan_over_time", makespan_over_time)):
    if len(runs):
        draw(runs).savefig(figures_dir / f"{name}.png", dpi=120)

# %% [markdown]
# ## How long they took


# %%
def execution_times(runs: pd.DataFrame) -> Figure:
    """Time to compute a schedule, by number of work points; answers from the cache have none."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    shown = runs.dropna(subset=["execution_time"])
    sns.boxplot(
        x=shown["n_workpoints"].astype(int), y=1_000 * shown["execution_time"].astype(float), color="#cfe0f5", ax=axes
    )
    axes.set(xlabel="work points", ylabel="execution time, ms", yscale="log")
    return figure


if len(runs):
    execution_times(runs).savefig(figures_dir / "execution_times.png", dpi=120)

# %% [markdown]
# ## An experiment
#
# Which arm did better is for the analyzer to say: it takes users, not runs, as what was split, and its verdict may be
# looked at as often as one likes. A picture of the raw values shows whether an outlier makes the difference.

# %%
if EXPERIMENT:
    arms = runs.dropna(subset=["variant"]).groupby(["variant", "user_id"])["makespan"].mean().reset_index()
    if len(arms):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        sns.boxplot(
            arms, x="variant", y="makespan", order=sorted(arms["variant"].unique()), width=0.4, color="#cfe0f5", ax=axes
        )
        sns.stripplot(
            arms, x="variant", y="makespan", order=sorted(arms["variant"].unique()), color="0.3", size=3, ax=axes
        )
        axes.set(title=EXPERIMENT, xlabel="", ylabel="mean makespan of a user, h")
        figure.savefig(figures_dir / "experiment.png", dpi=120)
    analyzer = ABTestAnalyzer(monitor)
    print(f"A/B测试报告: {analyzer.generate_ab_test_report(EXPERIMENT, days=DAYS)}")

# %% [markdown]
# ## The same as a report, to send on

# %%
print(f"报告生成: {monitor.generate_performance_report(days=DAYS)}")
