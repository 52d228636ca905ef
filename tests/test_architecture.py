"""Who may import whom: the table of ARCHITECTURE.md, held against every import statement of the project."""

import ast
import sys
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("model_manager", "ab_testing", "monitoring")

LAYERS: dict[str, int] = {
    # 5 shell
    "enhanced_flask": 5,
    "scheduler_service.http": 5,
    "scheduler_service.experiments.cli": 5,
    "scheduler_service.telemetry.cli": 5,
    # 4 doors
    **dict.fromkeys(DOORS, 4),
    # 3 input and output
    "scheduler_service.backup": 3,
    "scheduler_service.documents": 3,
    "scheduler_service.registry": 3,
    "scheduler_service.telemetry": 3,
    "scheduler_service.reporting": 3,
    "scheduler_service.experiments.archive": 3,
    "scheduler_service.experiments.automatic": 3,
    "scheduler_service.experiments.config": 3,
    "scheduler_service.experiments.edits": 3,
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
    "scheduler_service.validation": 1,
    "scheduler_service.experiments": 1,
    # 0 base
    "scheduler_env.errors": 0,
    "scheduler_env.words": 0,
    "scheduler_env.cores": 0,
    "scheduler_service.errors": 0,
    "scheduler_service.settings": 0,
    "scheduler_service.clock": 0,
    "scheduler_service.keys": 0,
    "scheduler_service.files": 0,
    "scheduler_service.jsonlines": 0,
    "scheduler_service.alert_rules": 0,
    "scheduler_service.loglines": 0,
    "scheduler_service.logs": 0,
    "scheduler_service": 0,
}
"""The longest matching prefix decides."""

WEB = {"flask", "flask_cors", "gevent", "gunicorn", "werkzeug", "prometheus_client"}
ACYCLIC = ("scheduler_env",)
"""Packages (or modules at the root) whose modules must not import each other in a cycle."""
STORAGE = {"sqlalchemy", "sqlite3", "filelock", "socket", "requests", "urllib", "http", "subprocess"}


def modules() -> dict[str, Path]:
    found = {path.stem: path for path in ROOT.glob("*.py")}
    for package in ("scheduler_env", "scheduler_service"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, *, every: bool = False) -> Iterator[str]:
    """The modules that `name` imports, at its top or inside a function.

    Args:
        every: also imports for type checking only, and imports that are executed only when the module is run as a
            program.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    passed_over = (
        set()
        if every
        else {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
            for statement in node.body
            for inner in ast.walk(statement)
        }
    )
    for node in ast.walk(tree):
        if id(node) in passed_over:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide who imports whom"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def graph_of(packages: Set[str]) -> dict[str, set[str]]:
    """Module -> the modules of the packages that it imports, all kinds of imports.

    `import a.b` also executes `a/__init__.py`. This does not count: an `__init__` gathers the modules of its package,
    so each of them would be in a cycle with it.
    """
    chosen = {name for name in MODULES if name.partition(".")[0] in packages}
    return {name: (set(imports(name, every=True)) & chosen) - {name} for name in chosen}


def cycle_in(graph: Mapping[str, Set[str]]) -> list[str]:
    """The modules of one cycle, the first one again at the end; empty if there is no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


def layer(name: str) -> int:
    prefixes = [prefix for prefix in LAYERS if name == prefix or name.startswith(f"{prefix}.")]
    assert prefixes, f"{name} is in no layer; give it one"
    return LAYERS[max(prefixes, key=len)]


def test_the_project_is_found():
    assert {*DOORS, "enhanced_flask", "scheduler_env.kernel", "scheduler_service.http.routes.runs"} <= set(MODULES)
    assert "scheduler_service.registry.store" in set(imports("model_manager"))


@pytest.mark.parametrize("name", MODULES)
def test_nobody_imports_a_higher_layer(name):
    # A package's __init__ only gathers its own modules.
    higher = [
        other
        for other in imports(name)
        if other in MODULES and layer(other) > layer(name) and not other.startswith(f"{name}.")
    ]
    assert higher == []


def test_modules_import_each_other_in_no_cycle():
    assert cycle_in(graph_of(set(ACYCLIC))) == []


def test_a_cycle_is_found():
    found = cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert (len(found), set(found)) == (4, {"a", "b", "c"})
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}}) == []


def test_imports_inside_functions_and_for_types_count_in_the_search_for_cycles():
    graph = graph_of({"scheduler_env", "scheduler_service"})
    assert "scheduler_env.network" in graph["scheduler_env.agent"]  # inside a function
    assert "scheduler_service.http.services" in graph["scheduler_service.http.watch.health"]  # for types


@pytest.mark.parametrize("name", DOORS)
def test_no_door_imports_another_door(name):
    assert not set(imports(name)) & set(DOORS)


@pytest.mark.parametrize("name", MODULES)
def test_only_the_shell_knows_the_web(name):
    if layer(name) < 5:
        assert not {other.partition(".")[0] for other in imports(name)} & WEB


@pytest.mark.parametrize("name", MODULES)
def test_only_the_learned_modules_import_torch(name):
    if layer(name) != 2:
        assert "torch" not in {other.partition(".")[0] for other in imports(name)}


def test_only_the_environment_needs_gymnasium_and_nothing_needs_the_environment():
    importers = {name for name in MODULES if "gymnasium" in {other.partition(".")[0] for other in imports(name)}}
    assert importers == {"scheduler_env.environment"}
    assert not [name for name in MODULES if "scheduler_env.environment" in imports(name, every=True)]


@pytest.mark.parametrize("name", MODULES)
def test_pure_modules_touch_no_storage_and_no_network(name):
    if layer(name) in (1, 2):
        assert not {other.partition(".")[0] for other in imports(name)} & STORAGE


@pytest.mark.parametrize("name", MODULES)
def test_the_science_knows_nothing_of_the_service(name):
    if name.startswith("scheduler_env"):
        ours = {
            other
            for other in imports(name)
            if other.partition(".")[0] in {"scheduler_service", "enhanced_flask", *DOORS}
        }
        assert ours == set()


@pytest.mark.parametrize("name", MODULES)
def test_every_import_exists(name):
    for other in imports(name):
        if other.partition(".")[0] in ("scheduler_env", "scheduler_service", "enhanced_flask", *DOORS):
            assert other in MODULES, f"{name} imports {other}"


def test_names_at_the_root_shadow_nothing():
    modules_here = {path.stem for path in ROOT.glob("*.py")}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert not modules_here & folders, "a folder silently wins over the module of its name"
    assert not (modules_here | folders) & set(sys.stdlib_module_names), "it would shadow the standard library"


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_neither_hollow_nor_a_house(name):
    n_lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert 150 <= n_lines <= 450, f"{name} has {n_lines} lines"
