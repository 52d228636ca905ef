"""Shared code of the command lines: output, exit status, and parsing of numbers."""

import argparse
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scheduler_env.errors import CodedError
from scheduler_env.vocabulary import half_width, number_of
from scheduler_service.database_url import parse_path

Outcome = tuple[Any, str, int]
"""The value that `--json` prints, the text for people, and the exit status."""
INTERRUPTED = 130

Progress = Callable[[int, int], None]
"""Called with the number of items done and the total."""


def run(command: Callable[[], Outcome], *, as_json: bool, interrupted: str = "") -> int:
    """Run the command and print its result; returns the exit status.

    Args:
        interrupted: text to print on Ctrl-C.
    """
    try:
        value, text, status = command()
        print(json.dumps(value, ensure_ascii=False, indent=2) if as_json else text, flush=True)
    except BrokenPipeError:  # for example `| head`; without dup2, Python would report the error again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CodedError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if interrupted:
            print(f"\n{interrupted}", file=sys.stderr)
        return INTERRUPTED
    return status


def path(text: str) -> Path:
    """A path of the command line; an address, which may contain a password, is refused and not repeated."""
    try:
        return parse_path(text)
    except CodedError as err:
        raise argparse.ArgumentTypeError(str(err)) from None


def shared_options() -> argparse.ArgumentParser:
    """A parent parser with `--home` and `--json`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--home", type=path, metavar="FOLDER", help="home of the service (default: SCHED_HOME)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def add_actor(parser: argparse.ArgumentParser) -> None:
    """Add `--actor`, by default the user of the system."""
    help_text = "name for the history (default: %(default)s)"
    parser.add_argument("--actor", default=os.environ.get("USER", ""), help=help_text)


@contextmanager
def progress_bar(description: str, unit: str, *, leave: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr; items done at the first call do not count for the rate."""
    from tqdm import tqdm  # slow to import

    with tqdm(desc=description, unit=unit, file=sys.stderr, leave=leave) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            if bar.n == 0:
                bar.initial = done
            bar.update(done - bar.n)

        yield progress


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """An aligned text table; Chinese characters count as two columns of the terminal."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def number(text: str) -> float:
    """Parse a finite decimal number. Unlike `float`, refuses `1_0`, `nan` and `inf`."""
    value = number_of(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return float(value)


def integer(text: str) -> int:
    """Parse an integer. Unlike `int`, refuses `1_0`."""
    digits = half_width(text).strip()
    if number_of(digits) is None or not digits.lstrip("+-").isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer")
    return int(digits)
