"""The console formats texts from codes like the service: the same catalogue and rules."""

import json

from playwright.sync_api import Page

from scheduler_service.words import LANGS, WORDS, Message
from tests.test_words import TEXTS, fields

VALUES = {
    "percent": [0.03584, 0.05, -0.00001, 1.0],
    "bytes": [512, 8 * 2**20, 3 * 2**40],
    "h": [60.0, 9_999.5],
    "s": [1.25, 3.0],
    "ms": [50],
    "days": [7],
    "signed": [0.03584, -0.05, -0.00001],
    "points": [0.03584, -0.05, 0.0],
    "short": [0.0123456, 51.234, 1234.5, -3.0],
    "count": [3, 1_234_567, [400, 1_200]],
    "arm": ["model_b", ["model_a", "model_c"]],
    "sentences": ["x", [Message("rollout.none"), Message("rollout.none")]],
    "clauses": ["x", [Message("rollout.none"), Message("rollout.none")]],
    "p": [0.00001, 0.0312, 1.0],
    "": ["x", 3, 1 / 3, 0.1 + 0.2, ["a", "b"], 10_000_000, Message("next.days_range", {"low": 3, "high": 9})],
}


def test_every_text_is_the_same_in_browser_and_service(schedule: Page):
    cases = []
    for lang in LANGS:
        for path, text in TEXTS[lang].items():
            if path.startswith("terms."):
                continue
            kinds = {name: next(iter(kinds)) for name, kinds in fields(text).items()}
            if "time" in kinds.values():  # shown in the time zone of the reader
                continue
            for n in range(max((len(VALUES.get(kind, ["x"])) for kind in kinds.values()), default=1)):
                params = {name: _value(kind, n) for name, kind in kinds.items()}
                output = WORDS.text(path, params, lang)
                cases.append((lang, path, Message(path, params).to_dict()["params"], output))
    worded = schedule.evaluate(
        """async (cases) => {
            const { loadWords, text } = await import(ownFile("core/words.js"));
            await loadWords();
            return cases.map(([lang, path, params]) => text(path, params, lang));
        }""",
        json.loads(json.dumps(cases)),
    )
    wrong = [(case, output) for case, output in zip(cases, worded, strict=True) if case[3] != output]
    assert not wrong, wrong[:3]
    assert len(cases) > 1_000


def _value(kind: str, n: int) -> object:
    values = VALUES.get(kind, ["team1", "unknown", ["team2", "x"]])
    return values[n % len(values)]
