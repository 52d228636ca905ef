"""Every regular expression of the project takes linear time on any text."""

import ast
import builtins
import importlib
import importlib.util
import inspect
import pkgutil
import re
import time
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

import scheduler_env
import scheduler_service

LENGTH = 20_000
"""Characters. Linear time is some milliseconds of CPU, quadratic time some seconds."""
ALLOWED_CPU_S = 0.4
FILES_OF_OURS = {"scheduler_env.psplib"}
"""Modules that read no text from clients."""
USUAL_UNITS = ["a", "A", "0", " ", "\n", "\t", '"', "\\", '\\"', "_", "-", ".", ":", "/", "=", ",", "检", "，", "（"]


METHODS = "match|fullmatch|search|sub|split|findall|finditer"


def modules() -> Iterator[str]:
    yield from ("ab_testing", "enhanced_flask", "model_manager", "monitoring")
    for package in (scheduler_env, scheduler_service):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__") and found.name not in FILES_OF_OURS:
                yield found.name


def source_of(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def places() -> Iterator[str]:
    """The location of each expression, found without importing or parsing: each test process collects all tests."""
    for name in modules():
        for number, line in enumerate(source_of(name).splitlines(), 1):
            if re.search(r"\bre\.(?!escape\b)[a-z]+\((?!\w+[,)])", line):
                yield f"{name}:{number}"


@cache
def expressions() -> dict[str, tuple[re.Pattern, set[str]]]:
    """Each expression of the source by its location, with the methods called on it."""
    found = {}
    for name in dict.fromkeys(place.partition(":")[0] for place in PLACES):
        module = importlib.import_module(name)
        source = inspect.getsource(module)
        for node in ast.walk(ast.parse(source)):
            if is_of_re(node) and node.args and not isinstance(node.args[0], ast.Name):
                # A literal, or one whose parts are constants of the module or, for variables, any two words.
                code, known = compile(ast.Expression(node.args[0]), name, "eval"), vars(builtins) | vars(module)
                words = {each: "sign|key" for each in code.co_names if each not in known}
                pattern = eval(code, vars(module).copy(), words)  # noqa: S307
                text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
                found[f"{name}:{node.lineno}"] = (re.compile(text, re.DOTALL), methods(node, source))
    return found


def is_of_re(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return ast.unparse(node.func.value) == "re" and node.func.attr != "escape"


def methods(call: ast.Call, source: str) -> set[str]:
    """The methods called on the expression; for a compiled one, found by its name."""
    if call.func.attr != "compile":
        return {call.func.attr}
    name = source.splitlines()[call.lineno - 1].partition(" = ")[0].strip()
    of_it = rf"\b{re.escape(name)}\.({METHODS})\("
    return set(re.findall(of_it, source)) or set(re.findall(rf"\.({METHODS})\(", source)) or {"search"}


def texts_against(pattern: str) -> Iterator[str]:
    """Texts that make expressions backtrack: repeated parts of the pattern before an end that does not match."""
    literals = re.findall(r"[A-Za-z]{3,}", pattern)[:6]
    units = dict.fromkeys([*USUAL_UNITS, *literals, *re.findall(r"[^\w\s]", pattern)])
    for start, unit, end in product(["", *literals[:2]], units, ["", "\0"]):
        yield start + unit * (LENGTH // len(unit)) + end
    for one, other in product(list(units)[:8], list(units)[:8]):
        yield (one + other) * (LENGTH // 2) + "\0"


def slowest_s(pattern: re.Pattern, methods: set[str]) -> float:
    """CPU time of the slowest text, of this thread only, since the machine may be busy."""
    slowest = 0.0
    for text, method in product(texts_against(pattern.pattern), sorted(methods)):
        before_s = time.thread_time()
        found = getattr(pattern, method)(*([""] if method == "sub" else []), text)
        if method == "finditer":
            list(found)
        slowest = max(slowest, time.thread_time() - before_s)
        if slowest > ALLOWED_CPU_S:
            break
    return slowest


PLACES = list(places())


def test_expressions_are_found():
    assert len(expressions()) > 15
    assert any(place.startswith("scheduler_service.logs:") for place in expressions())
    assert expressions().keys() == set(PLACES)


@pytest.mark.parametrize("place", PLACES)
def test_an_expression_takes_linear_time(place):
    assert slowest_s(*expressions()[place]) < ALLOWED_CPU_S


@pytest.mark.parametrize("pattern", [r'"(?:[^"\\]|\\.)*"', r"\s+$", r"<.*?>"])
def test_a_superlinear_expression_is_found(pattern):
    assert slowest_s(re.compile(pattern, re.DOTALL), {"search"}) > ALLOWED_CPU_S
