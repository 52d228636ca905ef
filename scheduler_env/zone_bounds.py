"""The lower bound that follows from exclusive steps; see `zones.zone_problems`."""

from scheduler_env.bounds import lower_bound
from scheduler_env.kernel import compile_instance
from scheduler_env.problem import Instance
from scheduler_env.zones import zone_problems


def zone_bound_h(instance: Instance) -> float:
    """A lower bound on the makespan, hours; 0 without exclusive steps. `instance` has no status."""
    found = [hours + float(lower_bound(compile_instance(each))) for hours, each in zone_problems(instance)]
    return max(found, default=0.0)
