"""Title, hypothesis and owner of an experiment: texts in any script, in addition to its id. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from scheduler_env.values import is_printable
from scheduler_service.errors import InvalidExperiment, invalid

ABOUT: Mapping[str, int] = MappingProxyType({"title": 200, "hypothesis": 2_000, "owner": 200})
"""Field -> maximum length in characters."""


def check_about(texts: Mapping[str, str | None]) -> None:
    """Check that there is at least one text, and each is a valid text of a field of `ABOUT`, or None.

    Raises:
        InvalidExperiment: `errors` has the places.
    """
    if not texts:
        raise InvalidExperiment("nothing_to_describe", known=[*ABOUT])
    wrong = [InvalidExperiment("unknown_description", (name,), known=[*ABOUT]) for name in texts if name not in ABOUT]
    wrong += [
        InvalidExperiment("not_printable", (name,), limit=ABOUT[name])
        for name, text in texts.items()
        if name in ABOUT and text is not None and not _fits(name, text)
    ]
    if wrong:
        raise InvalidExperiment.of(wrong)


def _fits(name: str, text: str) -> bool:
    return 1 <= len(text) <= ABOUT[name] and is_printable(text)


def _checked(name: str) -> AfterValidator:
    def check(text: str) -> str:
        if not _fits(name, text):
            raise invalid("not_printable", limit=ABOUT[name])
        return text

    return AfterValidator(check)


def _schema(name: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": ABOUT[name]})


Title = Annotated[str, _checked("title"), _schema("title")]
Hypothesis = Annotated[str, _checked("hypothesis"), _schema("hypothesis")]
Owner = Annotated[str, _checked("owner"), _schema("owner")]
