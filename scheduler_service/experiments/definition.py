"""The base class of the objects in `ab_test_config.json`: frozen, strictly typed, without unknown names."""

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from scheduler_service.errors import invalid

FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""For tuples: strict mode refuses JSON's lists."""

COMMENT = "_"
"""Prefix of the names of comments; they are kept and ignored."""


class Definition(BaseModel):
    """An object of the file."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, definition: object, info: ValidationInfo) -> object:
        """Refuse unknown names: a misspelled setting would have no effect.

        With a set as context, they are added to it instead, as a newer version of the program may have written them.
        """
        if isinstance(definition, Mapping):
            for name in definition:
                if name not in cls.model_fields and not str(name).startswith(COMMENT):
                    if info.context is None:
                        raise _unknown(str(name)[:60], [*cls.model_fields])
                    info.context.add(f"{cls.__name__.lstrip('_').lower()}.{name}")
        return definition


def _unknown(name: str, known: list[str]) -> PydanticCustomError:
    close = get_close_matches(name, known, n=1)
    if close:
        return invalid("no_such_name_near", name=name, nearest=close[0], mark=COMMENT)
    return invalid("no_such_name", name=name, known=known, mark=COMMENT)
