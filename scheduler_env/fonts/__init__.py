"""The font of all charts (an open CJK font, because matplotlib has none), and preparation of text for drawing.

matplotlib is imported inside the functions: the import is slow, and only charts need it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

FONT_FILE = Path(__file__).with_name("ChartSansSC-Regular.otf")
FAMILY = "Chart Sans SC"
NOT_IN_FONT = "□"
"""Replaces a character that the font lacks: rare hanzi, emoji, control characters."""

# matplotlib's settings are global to the process, so only one thread at a time may change them.
_drawing = threading.RLock()


@contextmanager
def use_cjk_font() -> Iterator[None]:
    """Within the block, new matplotlib text uses the bundled font and is drawn literally.

    Only one thread at a time is inside the block. A text keeps its font, so a figure may be saved outside the block.
    `$` starts no formula, because names come from users. Afterwards the settings are restored; the font stays
    registered.
    """
    import matplotlib

    with _drawing:
        _register()
        with matplotlib.rc_context(
            {
                "font.family": [FAMILY],
                "text.parse_math": False,
                "axes.unicode_minus": True,
                "svg.fonttype": "path",  # text as outlines: the viewer does not need the font
                "svg.hashsalt": "scheduler",  # the same figure always gives the same bytes
            }
        ):
            yield


def drawable(text: str, limit: int = 40) -> str:
    """`text` on one line, cut to `limit` characters with an ellipsis; characters that the font lacks are replaced."""
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
