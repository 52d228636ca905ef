"""The texts of alerts. The code of an alert is the name of its rule, a key of the catalogue's section `alerts`."""

import re
from collections.abc import Iterable, Mapping

from scheduler_service.alert_rules import GAP_THRESHOLDS, RULES
from scheduler_service.words import WORDS, Lang


def params_of(name: str, subject: str, limits: Iterable[int] = GAP_THRESHOLDS) -> dict[str, str]:
    """The parameters of the texts of rule `name`; `limits`: largest number of work points of each size."""
    about = RULES[name].about if name in RULES else "none"
    if about == "size":
        return {"sizes": sizes_of(subject, limits)}
    if about == "arm":
        experiment, _, arm = subject.partition("/")
        return {"experiment": experiment, "arm": arm}
    return {} if about == "none" else {about: subject.partition("@")[0] if about == "algorithm" else subject}


def sizes_of(subject: str, limits: Iterable[int] = GAP_THRESHOLDS) -> str:
    """The work points of a size: "6–10" for "N<=10" with the limits 5 and 10, ">50" for "N>50"."""
    if not re.fullmatch("N<=[0-9]{1,9}", subject):
        return subject.removeprefix("N")
    most = int(subject.removeprefix("N<="))
    least = max((limit for limit in limits if limit < most), default=0) + 1
    return f"{most}" if least == most else f"{least}–{most}"


def message(name: str, params: Mapping[str, object], lang: Lang) -> str:
    """The alert in one line, with its reason if there is one."""
    has_own = WORDS.template(f"alerts.{name}.message", lang) is not None
    found = WORDS.text(f"alerts.{name}.{'message' if has_own else 'title'}", params, lang)
    return WORDS.text("alerts.with_reason", {"message": found, **params}, lang) if "reason" in params else found


def stored_message(name: str, params: Mapping[str, object], lang: Lang, stored: str) -> str:
    """`message` of a recorded alert; the `stored` one if this version of the program does not know it."""
    try:
        return message(name, params, lang)
    except (KeyError, ValueError, TypeError, AttributeError):
        return stored


def advice(name: str, params: Mapping[str, object], lang: Lang) -> str:
    """The recommended action."""
    return WORDS.text(f"alerts.{name}.advice", params, lang)


def figure(name: str, value: float, lang: Lang) -> str:
    """A value or threshold of the rule in its unit, with four significant digits."""
    unit = RULES[name].unit if name in RULES else "index"
    return WORDS.text(f"alerts.figure.{unit}", {"value": float(f"{value:.4g}")}, lang)
