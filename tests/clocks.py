"""A clock that tests set."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Clock:
    """Returns `now`, which advances by `step` per call."""

    def __init__(self, now: datetime = START, step: timedelta = timedelta()) -> None:
        self.now, self.step = now, step

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)
