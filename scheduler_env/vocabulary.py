"""What people call the columns, the teams, yes and no in a table: every word in one place, by language.

A word counts in any case, in full width, and with blanks, `_` or `-` in it or without.
"""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches

from scheduler_env.values import MAX_EXACT

Words = Mapping[str, tuple[str, ...]]

COLUMNS: Mapping[str, Words] = {
    "zh": {
        "workpoint_id": ("工作点编号", "工作点", "编号"),
        "workpoint_name": ("工作点名称", "名称"),
        "step": ("工序", "工序名称", "工序名"),
        "order": ("次序", "顺序", "工序次序"),
        "team": ("班组", "团队", "班组名称"),
        "duration": ("工时", "名义工时"),
        "dedicated": ("全员作业", "专用"),
        "team_size": ("班组人数", "团队人数"),
        "parallel": ("可并行", "并行"),
        "alone": ("须单独进行", "单独进行"),
        "interruptible": ("可中断",),
        "min_crew": ("最少人数",),
        "max_crew": ("最多人数",),
        "reference_crew": ("工时对应人数",),
        "release": ("最早开始", "最早开始时间"),
        "exclusive": ("独占区域", "区域独占"),
        "predecessors": ("前置工序", "紧前工序"),
        "step_id": ("工序编号",),
    },
    "en": {
        "workpoint_id": ("workpoint_id", "work point", "id"),
        "workpoint_name": ("workpoint_name", "name"),
        "step": ("step", "step name"),
        "order": ("order",),
        "team": ("team",),
        "duration": ("duration", "hours", "nominal hours"),
        "dedicated": ("dedicated", "whole team"),
        "team_size": ("team_size",),
        "parallel": ("parallel",),
        "alone": ("alone",),
        "interruptible": ("interruptible",),
        "min_crew": ("min_crew", "least crew"),
        "max_crew": ("max_crew", "largest crew"),
        "reference_crew": ("reference_crew",),
        "release": ("release", "earliest start"),
        "exclusive": ("exclusive", "alone in its zone"),
        "predecessors": ("predecessors", "predecessor"),
        "step_id": ("step_id",),
    },
}
"""Language -> column -> its headings. `alone` is the contrary of `parallel`."""

TEAMS: Mapping[str, Words] = {
    "zh": {
        "team1": ("1班", "脚手架", "脚手架班", "1班 脚手架"),
        "team2": ("2班", "保温打磨", "保温打磨班", "2班 保温打磨"),
        "team3": ("3班", "检验", "检验班", "3班 检验"),
        "team4": ("4班", "射线", "射线班", "4班 射线"),
        "team5": ("5班", "无损检测", "无损检测班", "5班 无损检测"),
        "team6": ("6班", "返修", "返修班", "6班 返修"),
    },
    "en": {
        "team1": ("team1", "scaffolding", "1 scaffolding"),
        "team2": ("team2", "insulation", "2 insulation"),
        "team3": ("team3", "inspection", "3 inspection"),
        "team4": ("team4", "radiography", "4 radiography"),
        "team5": ("team5", "ndt", "5 ndt"),
        "team6": ("team6", "repair", "6 repair"),
    },
}
"""Language -> team of the default plant -> its names, as the console shows them or in part."""

FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "y", "1", "是"), True),
    **dict.fromkeys(("false", "no", "n", "0", "否"), False),
}

MAX_NUMBER_LENGTH = 60
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_UNIT = re.compile(r"\((h|hours?|小时|人)\)$")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)


def half_width(text: str) -> str:
    """`text` with digits, letters and signs that were typed in full width as the usual ones."""
    return text.translate(_HALF_WIDTH)


def folded(text: str) -> str:
    """What all ways to write one word have in common."""
    return _UNIT.sub("", re.sub(r"[\s_-]+", "", half_width(text)).casefold())


def _by_word(languages: Mapping[str, Words]) -> dict[str, str]:
    return {folded(word): name for words in languages.values() for name, all_ in words.items() for word in all_}


_COLUMN_OF, _TEAM_OF = _by_word(COLUMNS), _by_word(TEAMS)
_WRITTEN = {folded(word): word for words in COLUMNS.values() for all_ in words.values() for word in all_}


def column_of(heading: str) -> str | None:
    """The column that a heading names; None if there is none."""
    return _COLUMN_OF.get(folded(heading))


def nearest_heading(heading: str) -> str | None:
    """The known heading that an unknown one is most like, as it is written; None if it is like none."""
    near = get_close_matches(folded(heading[:MAX_NUMBER_LENGTH]), _WRITTEN, n=1, cutoff=0.75)
    return _WRITTEN[near[0]] if near else None


def team_of(name: str) -> str | None:
    """The team of the default plant that goes by this name; None if none does."""
    return _TEAM_OF.get(folded(name))


def flag_of(text: str) -> bool | None:
    """Yes or no; None if it is neither."""
    return FLAGS.get(folded(text))


def number_of(text: str) -> int | float | None:
    """The number that decimal digits say, in full width or not, with a decimal point and an exponent or without.

    None if they say none: neither `0x10` nor `12,5` is one. An integer where no point and no exponent is written.
    """
    word = half_width(text).strip()
    if len(word) > MAX_NUMBER_LENGTH or not _NUMBER.fullmatch(word):
        return None
    value = float(word)
    if not math.isfinite(value):
        return None
    return int(value) if word.lstrip("+-").isdigit() and abs(value) <= MAX_EXACT else value
