"""The documentation, executed: every command, snippet and answer that it shows, against a live server.

In a document, blocks run from top to bottom in one folder. `bash` and `python` blocks must succeed; a `json` block is
the answer of the command above it, shortened where it says `...`; `text` blocks are only to be read. What a test
changes in a block, `adapted` says.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pytest

from enhanced_flask import create_app
from scheduler_service.settings import PROJECT_ROOT, Settings, settings_table
from tests.conftest import LiveService, live_service
from tests.preloaded import python
from tests.waiting import HANG_S

EXECUTED = (
    "README.md",
    *(
        f"docs/{page.name}"
        for page in sorted((PROJECT_ROOT / "docs").glob("*.md"))
        if page.name != "GUIDE.zh.md" and "\n```" in page.read_text("utf-8")
    ),
)
"""The guide has tests/test_guide.py; `README.zh-CN.md` the same blocks as `README.md`, which another test compares."""
DOCUMENTS = sorted(
    str(path.relative_to(PROJECT_ROOT))
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "models/seed/*.md")
    for path in PROJECT_ROOT.glob(pattern)
)
REST = "..."
"""In a `json` block: and further fields, or entries."""
CURL_HTTP_ERROR = 22


@dataclass(frozen=True)
class Block:
    place: str  # document:line
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    text = (PROJECT_ROOT / document).read_text("utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(f"{document}:{text.count(chr(10), 0, match.start()) + 1}", match[1], match[2]) for match in found]


@pytest.fixture
def checkout(tmp_path_factory) -> LiveService:
    """The service over a folder that looks like a fresh clone to commands and snippets."""
    home = tmp_path_factory.mktemp("docs")
    for folder in ("seed", "baselines"):
        shutil.copytree(PROJECT_ROOT / "models" / folder, home / "models" / folder)
    (home / ".curlrc").write_text("fail-with-body\n")
    # No own evaluation ends the alert that an example creates.
    with live_service(home, environment={"SCHED_ALERT_EVERY_S": "0"}) as running:
        yield running


def adapted(script: str, service: LiveService) -> str:
    """The server's port, this Python, a training of seconds, fewer users; `make` is only checked, by another test."""
    script = script.replace("localhost:5001", service.url.removeprefix("http://"))
    script = script.replace(".venv/bin/python", python()).replace("seq 240", "seq 40")
    script = re.sub(r"^(.*-m scheduler_env\.training .*)$", r"\1 --updates 20", script, flags=re.MULTILINE)
    return re.sub(r"^make .*$", "", script, flags=re.MULTILINE)


def run(block: Block, service: LiveService) -> subprocess.CompletedProcess[str]:
    script = adapted(block.text, service)
    command = ["bash", "-euo", "pipefail", "-c", script] if block.language == "bash" else [python(), "-c", script]
    home = str(service.home)
    options = {"SCHED_HOME": home, "CURL_HOME": home, "PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=home, env=os.environ | options, capture_output=True, text=True, timeout=HANG_S, check=False
    )


def last_json(output: str) -> Any:
    """The last of the JSON values that commands printed one after another."""
    rest, value = output.strip(), None
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
    return value


def differences(shown: Any, real: Any, at: str = "answer") -> list[str]:
    """The differences between a real answer and the documented one."""
    if isinstance(shown, dict) and isinstance(real, dict):
        missing = shown.keys() - real.keys() - {REST}
        unsaid = set() if REST in shown else real.keys() - shown.keys()
        found = [f"{at}.{key} is not in the answer" for key in missing] + [f"{at}.{key} is not shown" for key in unsaid]
        return found + [
            d for key in shown.keys() & real.keys() for d in differences(shown[key], real[key], f"{at}.{key}")
        ]
    if isinstance(shown, list) and isinstance(real, list):
        entries = [entry for entry in shown if entry != REST]
        if len(real) < len(entries) or (len(real) > len(entries) and REST not in shown):
            return [f"{at} has {len(real)} entries, shown are {len(entries)}"]
        return [d for number, entry in enumerate(entries) for d in differences(entry, real[number], f"{at}.{number}")]
    if kind(shown) != kind(real):
        return [f"{at} is {real!r:.80}, shown is {shown!r:.80}"]
    return []


def kind(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


# --- the examples run ---


@pytest.mark.parametrize("document", EXECUTED)
def test_every_example_works(checkout, document):
    ended: subprocess.CompletedProcess[str] | None = None
    for block, following in zip(found := blocks(document), [*found[1:], None], strict=True):
        if block.language in ("bash", "python"):
            ended = run(block, checkout)
            refused = following is not None and following.language == "json" and '"status": 4' in following.text
            wanted = CURL_HTTP_ERROR if refused else 0
            output = f"{block.place} ended with {ended.returncode}\n{ended.stdout[-1_500:]}\n{ended.stderr[-2_500:]}"
            assert ended.returncode == wanted, output
        elif block.language == "json":
            assert ended is not None, f"{block.place} follows no command"
            assert differences(json.loads(block.text), last_json(ended.stdout)) == [], block.place
        else:
            assert block.language in ("text", ""), f"{block.place}: nobody checks {block.language} blocks"


def test_every_named_make_target_exists():
    documents = [*EXECUTED, "README.zh-CN.md"]
    commands = [
        line
        for document in documents
        for block in blocks(document)
        for line in block.text.splitlines()
        if block.language == "bash" and line.startswith("make ")
    ]
    named = {
        name for document in documents for name in re.findall(r"`make ([a-z-]+)", (PROJECT_ROOT / document).read_text())
    }
    assert {"make serve", "make test"} <= set(commands)
    for command in {*commands, *(f"make {name}" for name in named)}:
        tried = subprocess.run([*command.split(), "-n"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
        assert tried.returncode == 0, f"{command}: {tried.stderr}"


def test_a_changed_answer_is_found():
    real = {"status": "success", "total": 2, "models": [{"key": "a", "size": 1.5}, {"key": "b", "size": 2}]}
    assert differences({"status": "ok", "total": 1, "models": [{"key": "x", "size": 1}, "..."]}, real) == []
    assert differences({"status": "ok", "...": "..."}, real) == []
    assert differences({"status": "ok", "gone": 1, "...": "..."}, real) == ["answer.gone is not in the answer"]
    assert differences({"total": "2", "...": "..."}, real) == ["answer.total is 2, shown is '2'"]
    assert differences({"status": "ok", "total": 1}, real) == ["answer.models is not shown"]
    assert differences({"models": [{"key": "x", "size": 1}], "...": "..."}, real) == [
        "answer.models has 2 entries, shown are 1"
    ]


# --- what exists, is shown ---


def test_every_route_is_documented_and_every_documented_route_exists(tmp_path):
    rules = create_app(Settings(home=tmp_path)).url_map.iter_rules()
    served = {f"{method} {rule.rule}" for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    text = (PROJECT_ROOT / "docs" / "http-api.md").read_text("utf-8")
    assert set(re.findall(r"^### `([A-Z]+ \S+)`$", text, re.MULTILINE)) == served


def test_every_documented_route_has_an_example():
    text = (PROJECT_ROOT / "docs" / "http-api.md").read_text("utf-8")
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        assert "```bash" in section, section.partition("\n")[0]


def test_every_setting_is_documented_correctly():
    table = settings_table()
    assert table.count("\n") == len(Settings.model_fields) + 1
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text("utf-8")
    assert table in text, "put what `python -m scheduler_service.settings` prints into docs/operations.md"


def test_both_readmes_show_the_same_examples():
    english, chinese = ([(b.language, b.text) for b in blocks(name)] for name in ("README.md", "README.zh-CN.md"))
    assert [each for each in english if each[0] != "text"] == [each for each in chinese if each[0] != "text"]
    names = r"\b(?:[A-Z]\w*[a-z][A-Z]\w*|[a-z]+_\w+)\b"
    assert [re.findall(names, text, re.ASCII) for _, text in english] == [
        re.findall(names, text, re.ASCII) for _, text in chinese
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_target_exists(document):
    path = PROJECT_ROOT / document
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text("utf-8")):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{document}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], f"{document}: {target}#{anchor}"


def test_the_index_lists_every_page():
    index = (PROJECT_ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (PROJECT_ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_every_benchmark_of_make_bench_is_described():
    recipe = (PROJECT_ROOT / "Makefile").read_text("utf-8").partition("\nbench:")[2].partition("\n\n")[0]
    described = (PROJECT_ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE)) >= set(re.findall(r"benchmarks\.(\w+)", recipe))


def test_every_page_of_the_console_has_a_chapter():
    pages = {
        page.name for page in (PROJECT_ROOT / "scheduler_service" / "console" / "pages").iterdir() if page.is_dir()
    }
    headings = re.findall(r"^## (.*)$", (PROJECT_ROOT / "docs" / "console.md").read_text("utf-8"), re.MULTILINE)
    assert pages <= {heading.lower() for heading in headings}


def test_the_picture_of_the_architecture_matches_the_code():
    picture = ElementTree.parse(PROJECT_ROOT / "docs" / "images" / "architecture.svg").getroot()
    texts = ["".join(each.itertext()) for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    modules = {name for text in texts for name in re.findall(r"scheduler_\w+(?:/\w+)*|\b\w+\.py\b", text)}
    assert len(modules) >= 10
    for name in modules:
        assert (PROJECT_ROOT / name).exists(), name
    shown = {text for text in texts if text in "123456"}
    way = (PROJECT_ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## A request's way")[2]
    assert shown == set(re.findall(r"^(\d)\. ", way.partition("\n## ")[0], re.MULTILINE))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_pictures_are_small():
    pictures = list((PROJECT_ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 400_000, picture.name
