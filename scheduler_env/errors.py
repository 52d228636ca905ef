"""What can go wrong in the science: one tree; usable without the service.

An error is a code with parameters. The catalogue (`scheduler_env.words`, section `errors`) words it in each language;
`str(err)` is the English text.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from scheduler_env.words import WORDS, Catalogue, Lang, Message

Loc = tuple[str | int, ...]
"""The path to a value in the input, e.g. `("workpoints", 0, "steps", 2, "team")`; empty: the whole input."""
MAX_REASON = 500
"""Characters of the words of another library in a parameter `reason`; they may quote the file."""


class CodedError(Exception):
    """An error that is a code with parameters.

    Args:
        code: a key of the catalogue's section `errors`.
        loc: the path in the input to what is wrong.
        more: further mistakes of the same input.
        params: the parameters of the text; JSON values.
    """

    words: ClassVar[Catalogue] = WORDS
    SHOWN: ClassVar[int] = 5
    """Mistakes that `str` lists, each with its place."""

    def __init__(
        self, code: str, loc: Sequence[str | int] = (), /, *, more: Sequence[Self] = (), **params: Any
    ) -> None:
        super().__init__(code)
        self.code = code
        self.loc: Loc = tuple(loc)
        self.more = tuple(more)
        self.params = params

    @property
    def each(self) -> tuple[Self, ...]:
        """This mistake and the further ones."""
        return (self, *self.more)

    def at(self, loc: Sequence[str | int]) -> Self:
        """This mistake, without the further ones, at another place of the input."""
        return type(self)(self.code, tuple(loc), **self.params)

    @classmethod
    def of(cls, mistakes: Sequence["CodedError"]) -> Self:
        """All mistakes, at least one, as one error."""
        first, *more = (cls(each.code, each.loc, **each.params) for each in mistakes)
        return cls(first.code, first.loc, more=more, **first.params)

    def to_dict(self) -> dict[str, Any]:
        """Code and parameters of this mistake as JSON, without its place and the further ones."""
        return Message(self.code, self.params).to_dict()

    def text(self, lang: Lang = "en") -> str:
        """This mistake in words, without its place and the further ones."""
        return self.words.text(f"errors.{self.code}", self.params, lang)

    @property
    def messages(self) -> list[Message]:
        """The first `SHOWN` mistakes, each with its place, and the number of the others."""
        shown = [each._with_place() for each in self.each[: self.SHOWN]]
        left = len(self.each) - self.SHOWN
        return [*shown, Message("errors.and_more", {"n": left})] if left > 0 else shown

    def _with_place(self) -> Message:
        mistake = Message(f"errors.{self.code}", self.params)
        place = ".".join(map(str, self.loc))
        return Message("errors.at_place", {"place": place, "mistake": mistake}) if place else mistake

    def __str__(self) -> str:
        return "; ".join(self.words.say(each) for each in self.messages)


class SchedulingError(CodedError):
    """The root of the science's errors."""


class InvalidInstance(SchedulingError):
    """The plant or its steps cannot be scheduled as described."""


class InvalidSchedule(SchedulingError):
    """A schedule breaks a rule of its instance; the text lists the violations."""


class InvalidCheckpoint(SchedulingError):
    """A weights file is not one that this version can use: format, features, shapes, or values not finite."""


class BatchFailed(SchedulingError):
    """Batch work cannot be completed: a chunk failed, its workers were killed, or the executor cannot be used."""
