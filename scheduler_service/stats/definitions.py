"""The metrics and guardrails of experiments as data: what forms, charts and schemas are made from."""

from typing import Any

from scheduler_service.stats.arms import FAILED_RATIO
from scheduler_service.stats.guardrails import GUARDRAILS, Definition
from scheduler_service.stats.metrics import METRICS


def definitions() -> dict[str, Any]:
    """JSON."""
    return {
        "metrics": [
            {"name": each.name, "unit": each.unit, "direction": each.direction, "is_paired": each.is_paired}
            for each in METRICS.values()
        ],
        "guardrails": [each.to_dict() for each in GUARDRAILS.values()],
        "failed_ratio": FAILED_RATIO,
    }


def guardrails_described() -> str:
    """The guardrails with their default margins, for the schema of a request."""
    of = {"share_of_baseline": "of the baseline's mean", "share_of_requests": "of the requests"}
    of["share_of_baseline_percentile"] = "of the baseline's 95th percentile"
    names = "; ".join(f"{name} ({_margin(each)}, {of[each.margin_unit]})" for name, each in GUARDRAILS.items())
    return f"Name -> margin, a share: 0.05 is 5 %. The names: {names}. null or false: none."


def _margin(definition: Definition) -> str:
    return "off by default" if definition.default is None else f"{definition.default:g} by default"
