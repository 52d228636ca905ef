"""The section of the A/B report on the effect by size of plant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scheduler_service.experiments.sizes import Breakdown, SizeClass
from scheduler_service.reporting.page import Formatter
from scheduler_service.reporting.standing import Teller, letter

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SizeRow:
    """A line of the table."""

    candidate: str
    size: str
    improvement: str
    interval: str
    change: str
    users: str
    samples: str
    side: str


@dataclass(frozen=True, slots=True)
class SizeSection:
    """The table, and what is to be known of it."""

    rows: tuple[SizeRow, ...]
    notes: tuple[str, ...]


def size_section(breakdowns: Mapping[str, Breakdown], teller: Teller, words: Words, show: Formatter) -> SizeSection:
    """Every class of every candidate."""
    rows = tuple(
        _row(each, arm, found, teller, words, show) for arm, found in breakdowns.items() for each in found.classes
    )
    first = next(iter(breakdowns.values()))
    notes = [words["sizes_note"].format(round(100.0 * first.level, 2))]
    if first.unknown:
        notes.append(words["sizes_unknown"].format(show.count(first.unknown)))
    return SizeSection(rows, tuple(notes))


def _row(each: SizeClass, arm: str, found: Breakdown, teller: Teller, words: Words, show: Formatter) -> SizeRow:
    finding = each.finding
    told = finding.to_dict()
    bounds, change = told["interval_percentage"], told["change"]
    why = ""
    if each.reason is not None and any(finding.samples.values()):
        why = teller.why_no_bounds(each.reason, of_pairs=found.is_of_pairs)
    interval, difference = why or words["sizes_none"], words["none"]
    if bounds is not None:
        interval = _range(words, [show.signed_percent(bound) for bound in bounds])
    if change is not None:
        difference = _range(words, [f"{end:+.2f} {words['unit_' + told['unit']]}" for end in change])
    return SizeRow(
        candidate=letter(arm),
        size=_size(each, words),
        improvement=words["none"] if bounds is None else show.signed_percent(told["improvement_percentage"]),
        interval=interval,
        change=difference,
        users=" / ".join(map(show.count, finding.users.values())),
        samples=" / ".join(map(show.count, finding.samples.values())),
        side=finding.side,
    )


def _size(each: SizeClass, words: Words) -> str:
    if each.high is None:
        return words["sizes_more"].format(each.low)
    return words["sizes_one" if each.low == each.high else "sizes_range"].format(each.low, each.high)


def _range(words: Words, ends: Sequence[str]) -> str:
    return words["range"].format(*ends).replace("-", "−")
