"""The science of the service, usable without it: instances, schedules, kernel, priority rules and trained agent.

>>> from scheduler_env import standard_instance
>>> standard_instance([10, 5, 8, 6, 7, 9, 6, 7, 6, 7, 7, 7, 4, 7, 5]).steps[0].name
'搭架子'
"""

from scheduler_env.errors import InvalidCheckpoint, InvalidInstance, InvalidSchedule, SchedulingError
from scheduler_env.problem import Instance, Mode, Step, Team, WorkPoint
from scheduler_env.schedule import Schedule, ScheduledStep, Solution
from scheduler_env.standard_cycle import SAMPLE_PARAMS, standard_instance

__all__ = [
    "SAMPLE_PARAMS",
    "Instance",
    "InvalidCheckpoint",
    "InvalidInstance",
    "InvalidSchedule",
    "Mode",
    "Schedule",
    "ScheduledStep",
    "SchedulingError",
    "Solution",
    "Step",
    "Team",
    "WorkPoint",
    "standard_instance",
]
