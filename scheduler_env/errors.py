"""What can go wrong in the science: one tree; usable without the service."""


class SchedulingError(Exception):
    """The root; its text names the thing, the value and the limit."""


class InvalidInstance(SchedulingError):
    """The plant or its steps cannot be scheduled as described.

    `loc` is the path to the offending value in the input, e.g. `("workpoints", 0, "steps", 2, "team")`; `more` are
    further mistakes of the same input.
    """

    def __init__(self, message: str, loc: tuple[str | int, ...] = (), more: "tuple[InvalidInstance, ...]" = ()) -> None:
        super().__init__(message)
        self.loc = loc
        self.more = more

    @property
    def each(self) -> "tuple[InvalidInstance, ...]":
        """This mistake and the further ones."""
        return (self, *self.more)


class InvalidSchedule(SchedulingError):
    """A schedule breaks a rule of its instance; the text lists the violations."""


class InvalidCheckpoint(SchedulingError):
    """A weights file is not one that this version can use: format, features, shapes, or values not finite."""
