"""Import rules: the table of ARCHITECTURE.md, checked against every import statement of the project."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOORS = ("model_manager", "ab_testing", "monitoring")

LAYERS: dict[str, int] = {
    # 5 shell
    "enhanced_flask": 5,
    "scheduler_service.http": 5,
    "scheduler_service.registry.cli": 5,
    "scheduler_service.experiments.cli": 5,
    "scheduler_service.telemetry.cli": 5,
    "scheduler_service.plans.cli": 5,
    "scheduler_service.plans.__main__": 5,
    # 4 doors
    **dict.fromkeys(DOORS, 4),
    # 3 input and output
    "scheduler_service.backup": 3,
    "scheduler_service.documents": 3,
    "scheduler_service.postgresql": 3,
    "scheduler_service.registry": 3,
    "scheduler_service.store": 3,
    "scheduler_service.telemetry": 3,
    "scheduler_service.reporting": 3,
    "scheduler_service.plans.records": 3,
    "scheduler_service.experiments.archive": 3,
    "scheduler_service.experiments.automatic": 3,
    "scheduler_service.experiments.config": 3,
    "scheduler_service.experiments.edits": 3,
    "scheduler_service.experiments.exchange": 3,
    "scheduler_service.experiments.pairing": 3,
    "scheduler_service.experiments.replay": 3,
    "scheduler_service.experiments.changes": 3,
    "scheduler_service.experiments.history": 3,
    "scheduler_service.alerts.channels": 3,
    "scheduler_service.alerts.desk": 3,
    "scheduler_service.alerts.mail": 3,
    "scheduler_service.alerts.in_force": 3,
    "scheduler_service.alerts.limits": 3,
    "scheduler_service.alerts.redaction": 3,
    "scheduler_service.alerts.webhooks": 3,
    # 2 learned
    **dict.fromkeys(
        (
            f"scheduler_env.{name}"
            for name in ("network", "pool", "replay_buffer", "agent", "training", "polishing", "warm_up")
        ),
        2,
    ),
    # 1 pure
    "scheduler_env": 1,
    "scheduler_service.alerts": 1,
    "scheduler_service.stats": 1,
    "scheduler_service.command_line": 1,
    "scheduler_service.experiments": 1,
    "scheduler_service.plans": 1,
    # 0 base
    "scheduler_env.errors": 0,
    "scheduler_env.values": 0,
    "scheduler_env.validation": 0,
    "scheduler_env.words": 0,
    "scheduler_env.cores": 0,
    "scheduler_env.batch": 0,
    "scheduler_service.errors": 0,
    "scheduler_service.settings": 0,
    "scheduler_service.clock": 0,
    "scheduler_service.database_url": 0,
    "scheduler_service.keys": 0,
    "scheduler_service.files": 0,
    "scheduler_service.jsonlines": 0,
    "scheduler_service.alert_rules": 0,
    "scheduler_service.loglines": 0,
    "scheduler_service.logs": 0,
    "scheduler_service.trace_context": 0,
    "scheduler_service": 0,
}
"""The longest matching prefix decides."""

WEB = {"flask", "flask_cors", "gevent", "gunicorn", "werkzeug", "prometheus_client"}
COMMAND_LINES = dict(
    zip(DOORS, (f"scheduler_service.{name}.cli" for name in ("registry", "experiments", "telemetry")), strict=True)
)
STORAGE = {"sqlalchemy", "sqlite3", "filelock", "socket", "requests", "urllib", "http", "subprocess"}


def modules() -> dict[str, Path]:
    found = {path.stem: path for path in ROOT.glob("*.py")}
    for package in ("scheduler_env", "scheduler_service"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


AS_PROGRAM, FOR_TYPES = "__name__ == '__main__'", "TYPE_CHECKING"


@cache
def imports(name: str, *, without: Set[str] = frozenset({AS_PROGRAM, FOR_TYPES})) -> Set[str]:
    """The modules that `name` imports, at its top or inside a function.

    Args:
        without: conditions; imports under one of them are left out.
    """
    found: set[str] = set()
    for node in nodes_of(tree_of(name), without):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide who imports whom"
            assert node.module is not None
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(each if each in MODULES else node.module for each in full)
    return found


def nodes_of(node: ast.AST, without: Set[str]) -> Iterator[ast.AST]:
    """The node and its descendants, without the body of an `if` with such a condition."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) in without:
        children = iter(node.orelse)
    for child in children:
        yield from nodes_of(child, without)


def packages(name: str) -> Set[str]:
    """The top-level packages that a module imports."""
    return {other.partition(".")[0] for other in imports(name)}


def graph_of(chosen: Set[str]) -> dict[str, set[str]]:
    """Module -> the modules among the chosen ones that it imports, by any kind of import.

    `import a.b` also executes `a/__init__.py`. This is ignored: an `__init__` collects the modules of its package,
    so each of them would be in a cycle with it. Imports of a door run as a program are ignored too: the program is
    the module `__main__`, which no module imports.
    """
    return {
        name: (imports(name, without=frozenset({AS_PROGRAM} if name in DOORS else ())) & chosen) - {name}
        for name in chosen
    }


def cycle_in(graph: Mapping[str, Set[str]]) -> list[str]:
    """The modules of one cycle, the first one repeated at the end; empty if there is no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


def layer(name: str) -> int:
    prefixes = [prefix for prefix in LAYERS if name == prefix or name.startswith(f"{prefix}.")]
    assert prefixes, f"{name} is in no layer; give it one"
    return LAYERS[max(prefixes, key=len)]


def test_the_expected_modules_exist():
    assert {*DOORS, "enhanced_flask", "scheduler_env.kernel", "scheduler_service.http.routes.runs"} <= set(MODULES)
    assert "scheduler_service.registry.store" in imports("model_manager")


def test_no_module_imports_a_higher_layer():
    # A package's __init__ only gathers its own modules.
    assert [
        (name, other)
        for name in MODULES
        for other in imports(name)
        if other in MODULES and layer(other) > layer(name) and not other.startswith(f"{name}.")
    ] == []


def test_there_are_no_import_cycles():
    assert cycle_in(graph_of(set(MODULES))) == []


def test_the_search_finds_a_cycle():
    found = cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert (len(found), set(found)) == (4, {"a", "b", "c"})
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}}) == []


def test_imports_inside_functions_and_for_types_count_as_cycles():
    graph = graph_of(set(MODULES))
    assert "scheduler_env.network" in graph["scheduler_env.agent"]  # inside a function
    assert "scheduler_env.problem" in graph["scheduler_env.warm_up"]  # for types


@pytest.mark.parametrize(("door", "command_line"), COMMAND_LINES.items())
def test_a_command_line_receives_its_door_as_an_argument(door, command_line):
    # Otherwise `python -m <door>` would execute the door twice and create each class twice.
    assert command_line in imports(door, without=frozenset())
    assert door not in imports(command_line)


@pytest.mark.parametrize("name", DOORS)
def test_no_door_imports_another_door(name):
    assert not imports(name) & set(DOORS)


def test_only_the_shell_imports_the_web_framework():
    assert {name: packages(name) & WEB for name in MODULES if layer(name) < 5 and packages(name) & WEB} == {}


def test_only_the_learned_modules_import_torch():
    assert [name for name in MODULES if layer(name) != 2 and "torch" in packages(name)] == []


def test_only_the_environment_needs_gymnasium_and_nothing_needs_the_environment():
    importers = {name for name in MODULES if "gymnasium" in {other.partition(".")[0] for other in imports(name)}}
    assert importers == {"scheduler_env.environment"}
    assert not [name for name in MODULES if "scheduler_env.environment" in imports(name, without=frozenset())]


INSTALLED_BY = {"fpdf": "fpdf2", "werkzeug": "flask", "pydantic_core": "pydantic", "typing_extensions": "pydantic"}
"""Imported name -> the requirement that brings it, if the names differ."""
EXTRA = {"ray", "opentelemetry"}
"""Packages with a file of requirements of their own."""


def test_make_serve_installs_what_the_service_imports_before_it_starts():
    """All but torch, which only new weights files need: it is installed later, in the background."""
    first, _, later = (ROOT / "requirements.txt").read_text("utf-8").partition("\n# Later")
    imported = set().union(*(packages(name) for name in reachable("enhanced_flask")))
    imported -= EXTRA | set(sys.stdlib_module_names) | {name.partition(".")[0] for name in MODULES}
    needed = {name.lower().replace("_", "-") for name in {INSTALLED_BY.get(name, name) for name in imported}}
    assert needed - required(first) == {"torch"}
    assert required(later) == {"torch"}


def required(text: str) -> set[str]:
    """The names of the packages in a requirements file."""
    return {
        found.lower().replace("_", "-") for found in re.findall(r"^([A-Za-z0-9_-]+)(?:\[.*\])?==", text, re.MULTILINE)
    }


def reachable(name: str) -> set[str]:
    """The module, and all that it imports, directly or not."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        found.add(each := waiting.pop())
        waiting |= (imports(each) & MODULES.keys()) - found
    return found


def test_pure_modules_touch_no_storage_and_no_network():
    assert [name for name in MODULES if layer(name) in (1, 2) and packages(name) & STORAGE] == []


def test_the_environment_imports_nothing_of_the_service():
    service = {"scheduler_service", "enhanced_flask", *DOORS}
    assert [name for name in MODULES if name.startswith("scheduler_env") and packages(name) & service] == []


def test_every_import_exists():
    ours = {"scheduler_env", "scheduler_service", "enhanced_flask", *DOORS}
    assert [
        (name, other)
        for name in MODULES
        for other in imports(name)
        if other.partition(".")[0] in ours and other not in MODULES
    ] == []


SLOW = ["torch", "pandas", "matplotlib", "scipy", "seaborn", "statsmodels", "numba", "sklearn"]


@pytest.mark.parametrize(
    ("name", "others"), [("enhanced_flask", ["multiprocessing"]), ("ab_testing", ["flask"]), ("monitoring", ["numpy"])]
)
def test_importing_a_door_imports_nothing_slow(name, others):
    code = f"import {name}, sys; print([name for name in {[*SLOW, *others]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_root_modules_shadow_no_installed_package():
    modules_here = {path.stem for path in ROOT.glob("*.py")}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert not modules_here & folders, "a folder silently wins over the module of its name"
    assert not (modules_here | folders) & set(sys.stdlib_module_names), "it would shadow the standard library"


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_neither_empty_nor_large(name):
    n_lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert 150 <= n_lines <= 450, f"{name} has {n_lines} lines"
