"""Public instances: read correctly, refused clearly, and solved to their published optimum."""

import contextlib
import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_env import InvalidInstance
from scheduler_env.agent import load_agent
from scheduler_env.psplib import instance_from_psplib
from scheduler_service.settings import Settings
from tests.codes import coded
from tests.properties import examples

PSPLIB = Settings().data / "psplib"
pytestmark = pytest.mark.skipif(not PSPLIB.is_dir(), reason=f"no reference data in {PSPLIB}; set SCHED_DATA")
HOUR_MS = 3_600_000.0


def _text(name: str) -> str:
    return (PSPLIB / name).read_text(encoding="latin-1")


def _optima() -> dict[str, int]:
    with (PSPLIB / "j30_optimum.csv").open(newline="") as file:
        found = {f"j30.sm/{row['problem']}": int(row["optimum"]) for row in csv.DictReader(file)}
    for line in (PSPLIB / "n0opt.mm").read_text(encoding="latin-1").splitlines():
        if row := re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)\s", line):
            found[f"n0/n0{row[1]}_{row[2]}.mm"] = int(row[3])
    return found


def test_a_single_mode_file_has_its_jobs_demands_and_capacities():
    name = sorted(path.name for path in (PSPLIB / "j30.sm").glob("*.sm"))[0]
    instance = instance_from_psplib(_text(f"j30.sm/{name}"))
    assert len(instance.steps) == 32
    assert len(instance.teams) == 4
    assert instance.steps[0].modes[0].duration_h == 0.0
    assert instance.predecessors[0] == ()
    assert all(len(step.modes) == 1 for step in instance.steps)


def test_every_stored_instance_without_non_renewable_resources_is_read():
    files = [*(PSPLIB / "j30.sm").glob("*.sm"), *(PSPLIB / "n0").glob("*.mm")]
    assert len(files) > 300
    for file in files:
        instance = instance_from_psplib(file.read_text(encoding="latin-1"))
        announced = re.search(r"jobs \(incl\. supersource/sink \):\s*(\d+)", file.read_text(encoding="latin-1"))
        assert announced is not None
        assert len(instance.steps) == int(announced[1])


def test_non_renewable_resources_are_refused_by_name():
    name = sorted(path.name for path in (PSPLIB / "j20.mm").glob("*.mm"))[0]
    with pytest.raises(InvalidInstance, check=coded("psplib_resources", names=["N1", "N2"])):
        instance_from_psplib(_text(f"j20.mm/{name}"))


@pytest.mark.parametrize("family", ["j30.sm/*.sm", "n0/*.mm"])
def test_search_finds_the_published_optimum_of_a_sample(family):
    agent = load_agent(Path(__file__).parent.parent / "models" / "seed" / "ddqn_v2.pth")
    optima = _optima()
    names = sorted(f"{path.parent.name}/{path.name}" for path in PSPLIB.glob(family))[5::40]
    assert len(names) >= 3
    for name in names:
        found = agent.solve(instance_from_psplib(_text(name)), time_budget_ms=HOUR_MS, max_evaluations=60_000)
        assert found.schedule.makespan_h == pytest.approx(optima[name]), name
        assert found.lower_bound_h <= optima[name] + 1e-9


@examples(100)
@given(cut=st.integers(0, 4_000), junk=st.text(max_size=20))
def test_a_damaged_file_is_read_or_refused(cut, junk):
    text = _text("n0/n010_1.mm")
    damaged = text[:cut] + junk + text[cut + len(junk) :]
    with contextlib.suppress(InvalidInstance):
        assert instance_from_psplib(damaged).steps
