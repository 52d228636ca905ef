"""What the objects of `ab_test_config.json` have in common: frozen, strictly typed, and no unknown names."""

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from scheduler_env.validation import invalid

COMMENT = "_"
"""What the names of remarks begin with; they are kept, and read by nobody."""


class Definition(BaseModel):
    """An object of the file."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, definition: object) -> object:
        """A name that is misspelled would be a setting that does not count."""
        if isinstance(definition, Mapping):
            for name in definition:
                if name not in cls.model_fields and not str(name).startswith(COMMENT):
                    raise _unknown(str(name)[:60], [*cls.model_fields])
        return definition


def _unknown(name: str, known: list[str]) -> PydanticCustomError:
    close = get_close_matches(name, known, n=1)
    if close:
        return invalid("no_such_name_near", name=name, nearest=close[0], mark=COMMENT)
    return invalid("no_such_name", name=name, known=known, mark=COMMENT)
