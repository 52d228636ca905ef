"""The right to do a job alone, as those see it who write under it."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection  # slow to import, and a lease of a file has none


class Lease(Protocol):
    """The right to do a job alone."""

    @property
    def name(self) -> str:
        """The job's name."""

    @property
    def is_held(self) -> bool:
        """Whether it is still held."""

    def confirm(self, connection: "Connection") -> None:
        """Raise LeaseLost if it is lost; called in the transaction that rests on it."""
