"""The mistakes of a request, collected while it is read."""

from typing import NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from scheduler_env.clock import Clock
from scheduler_env.errors import InvalidInstance, Loc
from scheduler_env.problem_request import Name
from scheduler_env.validation import MAX_FIELDS, MAX_MISTAKES, mistakes
from scheduler_env.values import shortened

Model = TypeVar("Model", bound=BaseModel)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class Mistakes:
    """What is wrong with a request; reading ends at `MAX_MISTAKES`."""

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock`: of the request, which may then have times in place of hours."""
        self._found: list[InvalidInstance] = []
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, *found: InvalidInstance) -> None:
        self._found += found
        if len(self._found) >= MAX_MISTAKES:
            self.refuse()

    def stop(self, last: InvalidInstance) -> NoReturn:
        """Refuses a request of which the rest is not read."""
        raise InvalidInstance.of([*self._found, last])

    def refuse(self) -> None:
        """Raises InvalidInstance if there is a mistake."""
        if self._found:
            raise InvalidInstance.of(self._found[:MAX_MISTAKES])

    def read(self, model: type[Model], value: object, loc: Loc) -> Model | None:
        """`value` as `model`; None if it is not one, and its mistakes are added."""
        if isinstance(value, dict) and len(value) > MAX_FIELDS:  # each unknown field would be a mistake of its own
            self.add(InvalidInstance("too_many_fields", loc, n=len(value), limit=MAX_FIELDS))
            return None
        try:
            return model.model_validate(value, context=self._clock)
        except ValidationError as err:
            names = [field.alias or name for name, field in model.model_fields.items()]
            self.add(*mistakes(err, loc, names, InvalidInstance))
            return None

    def entries(self, value: object, loc: Loc, limit: int) -> list[tuple[Loc, str | None, object]]:
        """The entries of a list or an object, at most `limit`: path, key (None in a list), value."""
        if not isinstance(value, dict | list):
            self.stop(InvalidInstance("list_or_dict_type", loc, value=shortened(value)))
        if len(value) > limit:
            self.stop(InvalidInstance("too_long", loc, max_length=limit, actual_length=len(value)))
        if isinstance(value, list):
            return [((*loc, at), None, entry) for at, entry in enumerate(value)]
        return [((*loc, key), key, entry) for key, entry in value.items() if self._is_name(key, (*loc, key))]

    def _is_name(self, key: object, loc: Loc) -> bool:
        try:
            _NAME.validate_python(key, strict=True)
        except ValidationError as err:
            self.add(*mistakes(err, loc, (), InvalidInstance))
            return False
        return True
