"""The statements of the examples' README files are true."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import preloaded
from tests.examples.field import EXAMPLES, SPRING, VUE, blocks, ended


def documents() -> list[Path]:
    return sorted(path for path in EXAMPLES.rglob("README*.md") if "node_modules" not in path.parts)


@pytest.mark.parametrize("name", ["curl", "python"])
def test_the_commands_of_a_readme_run(plant, tmp_path, name):
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    document = folder / "README.md"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, command in (("bash", ["bash", "-euo", "pipefail", "-c"]), ("python", [preloaded.python(), "-c"])):
        for block in blocks(document, language):
            script = block.replace("http://localhost:5001", plant.url).replace("pip install requests", "")
            result = ended([*command, script], cwd=folder, env=environment)
            assert result.returncode == 0, result.stderr
    assert (folder / "gantt.svg").exists() == (name == "curl")


def test_both_languages_of_a_readme_show_the_same_blocks():
    english = [path for path in documents() if path.name == "README.md"]
    assert len(english) == 5
    for document in english:
        chinese = document.with_name("README.zh-CN.md")
        for language in ("bash", "python", "text"):
            assert blocks(document, language) == blocks(chinese, language), document


def test_links_and_file_names_of_the_readmes_exist():
    for document in documents():
        text = document.read_text("utf-8")
        targets = re.findall(r"\]\((?!https?://)([^)#\s]+)", text)
        files = re.findall(r"^\| `([\w./]+\.(?:js|vue|sh))[ `]", text, re.MULTILINE)
        for target in targets + files:
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_class_and_property_of_the_spring_example_is_in_its_readme():
    for document in (path for path in documents() if path.parent == SPRING):
        text = document.read_text("utf-8")
        classes = [path.stem for path in SPRING.rglob("*.java")]
        properties = re.findall(
            r"^    ([\w-]+):", (SPRING / "src/main/resources/application.yml").read_text(), re.MULTILINE
        )
        assert [name for name in classes + properties if f"`{name}" not in text] == []


def test_versions_of_the_vue_example_match_the_lock_file():
    package = json.loads((VUE / "package.json").read_text())
    lock = json.loads((VUE / "package-lock.json").read_text())["packages"]
    wanted = package["dependencies"] | package["devDependencies"]
    assert {"axios", "vue", "vuex"} <= set(package["dependencies"])
    assert wanted == {name: lock[f"node_modules/{name}"]["version"] for name in wanted}
