"""The font of every chart: an open CJK font, since matplotlib brings none; and text made fit to be drawn.

matplotlib is imported inside the functions: it takes a while, and only charts need it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from scheduler_env.locks import native_rlock

FONT_FILE = Path(__file__).with_name("ChartSansSC-Regular.otf")
FAMILY = "Chart Sans SC"
NOT_IN_FONT = "□"
"""Stands for a character that the font lacks: rare hanzi, emoji, control characters."""

# matplotlib's settings belong to the process, not to a figure: two threads must not swap them for each other.
_drawing = native_rlock()


@contextmanager
def use_cjk_font() -> Iterator[None]:
    """Within the block, and in this thread alone, new matplotlib text is in the bundled font and taken literally.

    Text keeps what it was created with, so a figure may be saved outside the block. `$` starts no formula: names
    come from users. The settings are the old ones again afterwards; that the font is registered remains.
    """
    import matplotlib

    with _drawing:
        _register()
        with matplotlib.rc_context(
            {
                "font.family": [FAMILY],
                "text.parse_math": False,
                "axes.unicode_minus": True,
                "svg.fonttype": "path",  # a reader's machine need not have the font
                "svg.hashsalt": "scheduler",  # the same figure gives the same bytes
            }
        ):
            yield


def drawable(text: str, limit: int = 40) -> str:
    """`text` as it can be drawn: one line, at most `limit` characters (the last an ellipsis), all in the font."""
    known = _characters()
    line = " ".join(text.split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return "".join(character if ord(character) in known else NOT_IN_FONT for character in line)


@cache
def _register() -> None:
    from matplotlib import font_manager

    font_manager.fontManager.addfont(str(FONT_FILE))


@cache
def _characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(FONT_FILE)).get_charmap())
