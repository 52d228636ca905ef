"""Every text is in the catalogue once, in both languages, and gets the parameters that it names."""

import ast
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scheduler_env import errors as science_errors
from scheduler_env.errors import CodedError
from scheduler_env.findings import InvalidFile
from scheduler_env.validation import invalid
from scheduler_env.words import KINDS, Catalogue, Message
from scheduler_service import errors as service_errors
from scheduler_service.http.contract.problems import HTTP_CODES
from scheduler_service.words import LANGS, WORDS
from tests.conftest import ROOT

SOURCES = [
    *(ROOT / f"{door}.py" for door in ("enhanced_flask", "model_manager", "ab_testing", "monitoring")),
    *(ROOT / "scheduler_env").rglob("*.py"),
    *(ROOT / "scheduler_service").rglob("*.py"),
]
OPTIONS = {"more", "retry_after_s", "is_final"}
"""Arguments of errors that are not parameters of their texts."""
CHOSEN_ELSEWHERE = {
    "scheduler_env/standard_cycle.py": {"err.code"},  # of the crews' error, with the step
    "scheduler_service/postgresql/faults.py": {"_code_of(err)"},
    "scheduler_service/database_url.py": {"err.type"},
    "scheduler_service/registry/examination.py": {"content['code']"},  # of an error raised by the helper process
    "scheduler_service/registry/moves.py": {"USED_BY[uses[-1].role]"},
}
"""File -> codes that are not literals."""


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))


@cache
def calls() -> tuple[tuple[Path, ast.Call], ...]:
    """(file, call) of every call in the sources."""
    return tuple(
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )


def created() -> Iterator[tuple[Path, ast.Call]]:
    """(file, call) of each place where an error is created."""
    import enhanced_flask  # noqa: F401  (defines the error classes of the HTTP layer)

    # A file's errors are its findings, and those have codes.
    names = {cls.__name__ for cls in _subclasses(CodedError) - {InvalidFile}} | {invalid.__name__}
    for path, node in calls():
        if called(node) in names:
            yield path.relative_to(ROOT), node


def is_literal(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant)


def raised():
    """(where, code, parameter names or None if they are not written out) of every error that is raised."""
    for path, node in created():
        if is_literal(node):
            keywords = {each.arg for each in node.keywords} - OPTIONS
            yield f"{path}:{node.lineno}", node.args[0].value, None if None in keywords else keywords


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def worded():
    """(where, path of the text, parameter names or None if they are not written out) of other texts.

    These are messages, reasons, and the texts of reports.
    """
    for path, node in calls():
        is_report = path.parent.name == "reporting"
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        keywords = {each.arg for each in node.keywords}
        where, name = f"{path.relative_to(ROOT)}:{node.lineno}", called(node)
        if name == "Message" and texts:
            yield where, texts[0], keys_of(node.args[1]) if len(node.args) > 1 else set()
        elif name == "NotComputable" and texts and len(texts) == len(node.args):
            yield where, f"reasons.{texts[-1]}", None if None in keywords else keywords
        elif is_report and name in ("text", "_text") and len(texts) == len(node.args) == 1:
            path_of = texts[0] if "." in texts[0] else f"reports.{texts[0]}"
            yield where, path_of, None if None in keywords else keywords


def keys_of(node: ast.expr) -> set[str] | None:
    if not isinstance(node, ast.Dict) or not all(isinstance(key, ast.Constant) for key in node.keys):
        return None
    return {key.value for key in node.keys}


def fields(template: str) -> dict[str, set[str]]:
    """Parameter -> its kinds."""
    found: dict[str, set[str]] = {}
    for _, name, kind, conversion in string.Formatter().parse(template):
        assert conversion is None, f"{template!r}: a conversion is written otherwise in JavaScript"
        if name is not None:
            found.setdefault(name, set()).add(kind or "")
    return found


def flat(texts, before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in texts.items():
        found |= {f"{before}{key}": value} if isinstance(value, str) else flat(value, f"{before}{key}.")
    return found


TEXTS = {lang: flat(WORDS.texts(lang)) for lang in LANGS}


def test_both_languages_have_the_same_texts():
    assert TEXTS["zh"].keys() == TEXTS["en"].keys()


def test_a_chinese_text_has_no_additional_parameters():
    of = {lang: {path: set(fields(text)) for path, text in TEXTS[lang].items()} for lang in LANGS}
    checked_below = {f"errors.{code}" for _, code, given in raised() if given is not None}
    # A Chinese page does not use the names of an API's fields.
    assert all(of["zh"][path] <= of["en"][path] for path in of["en"].keys() - checked_below)


def test_two_codes_of_errors_have_two_texts():
    """Otherwise they are one mistake with two names."""
    for lang in LANGS:
        names: dict[str, list[str]] = {}
        for code, text in WORDS.texts(lang)["errors"].items():
            if text != "{detail}" and code != "int_from_float":  # texts of others; and a code of pydantic
                names.setdefault(text, []).append(code)
        assert [codes for codes in names.values() if len(codes) > 1] == []


def test_each_kind_is_known():
    kinds = {
        kind for texts in TEXTS.values() for text in texts.values() for each in fields(text).values() for kind in each
    }
    for lang in LANGS:
        assert kinds <= KINDS.keys() | WORDS.texts(lang).get("terms", {}).keys()


def test_each_error_is_created_with_a_code():
    for path, node in created():
        code = ast.unparse(node.args[0]) if node.args else ""
        assert is_literal(node) or code in CHOSEN_ELSEWHERE.get(str(path), ()), f"{path}:{node.lineno}: {code}"


def test_an_error_with_a_sentence_as_its_code_has_no_text():
    with pytest.raises(KeyError, match="no text"):
        str(service_errors.Conflict("the model is in use"))


@pytest.mark.parametrize(
    ("found", "prefix", "langs"),
    [(raised, "errors.", LANGS), (worded, "", ("en",))],  # sources are read when the test runs
    ids=["errors", "messages"],
)
def test_each_raised_error_and_each_message_has_a_text_and_its_parameters(found, prefix, langs):
    places = list(found())
    assert len(places) > 100
    for where, name, given in places:
        path = prefix + name
        for lang in langs:
            text = TEXTS[lang].get(path)
            assert text is not None, f"{where}: no text {path}"
            missing = fields(text).keys() - (given if given is not None else fields(text).keys())
            assert not missing, f"{where}: {path} lacks {missing}"


def test_each_code_of_the_http_layer_has_a_text():
    codes = {*HTTP_CODES.values(), "http_error", "internal_error", "runs_overloaded", "not_http"}
    assert {f"errors.{code}" for code in codes} <= TEXTS["en"].keys()


def test_no_text_is_defined_in_two_folders(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "en").mkdir(parents=True)
        (tmp_path / folder / "en" / "errors.json").write_text('{"gone": "it is gone"}')
    with pytest.raises(ValueError, match="gone is defined twice"):
        Catalogue(tmp_path / "a", tmp_path / "b").texts("en")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("percent", 0.03584, "3.58 %"), ("percent", 0.05, "5 %"), ("percent", -0.00001, "0 %"), ("h", 60.0, "60 h"),
        ("", 10_000, "10000"), ("", 0.1 + 0.2, "0.3"), ("bytes", 8 * 2**20, "8 MiB"), ("", ["a", "b"], "a, b"),
    ],
)  # fmt: skip
def test_a_value_is_formatted_by_its_kind(tmp_path, kind, value, text):
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "errors.json").write_text(f'{{"it": "{{value:{kind}}}"}}')
    assert Catalogue(tmp_path).text("errors.it", {"value": value}) == text


def test_a_list_of_messages_is_written_as_sentences_or_clauses(tmp_path):
    for lang in ("en", "zh"):
        (tmp_path / lang).mkdir()
        (tmp_path / lang / "errors.json").write_text('{"it": "It {n}.", "s": "{all:sentences}", "c": "{all:clauses}"}')
    messages = [Message("errors.it", {"n": 1}), {"code": "errors.it", "params": {"n": 2}}]
    found = Catalogue(tmp_path)
    texts = [found.text(f"errors.{key}", {"all": messages}, lang) for lang in ("en", "zh") for key in ("s", "c")]
    assert texts == ["It 1. It 2.", "It 1.; It 2.", "It 1.It 2.", "It 1.；It 2."]


def test_an_error_has_its_text_in_both_languages():
    err = science_errors.InvalidInstance("unknown_team", ("teams",), step="x", team="y", known=["team1", "team2"])
    assert str(err) == f"teams: {err.text('en')}"
    assert err.text("zh") != err.text("en")
    assert issubclass(service_errors.ServiceError, CodedError)
