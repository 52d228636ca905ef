"""The stages of a rollout, and when one is left: decided here, of plain values; acted upon by `ABTestManager`.

At a stage of share s the candidate has a share s of the users and the baseline as many: coverage 2 s, halves. The
others get the default model and are left out of the analysis. Raising the coverage moves nobody out of an arm
(`assignment.bucket_ranges`), so no user switches sides between the stages. The last stage, 1.0, is the promotion.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from scheduler_service.clock import to_iso
from scheduler_service.experiments.moment import Moment

DEFAULT_STAGES = (0.1, 0.3, 0.5, 1.0)
MAX_STAGES = 20
MAX_HOURS = 87_600.0


class Promotion(BaseModel):
    """What the promotion moved, and what is left to do."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    model: str  # the default model since then, a key
    previous_default: str  # as it was configured
    are_tags_moved: bool = False  # the registry follows the configuration; a kill may come in between
    is_reverted: bool = False


class Rollout(BaseModel):
    """The plan of a rollout and how far it is."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    stages: tuple[float, ...] = DEFAULT_STAGES  # shares of the users that get the candidate
    min_samples: int = Field(default=100, ge=2, le=10**9)  # values of the metric in each arm, in each stage
    min_hours: float = Field(default=24.0, ge=0.0, le=MAX_HOURS, allow_inf_nan=False)  # in each stage
    auto: bool = True  # false: only people move it (`advance`)
    promote_on: Literal["better", "non_inferior"] = "better"
    stage: int = Field(default=0, ge=0)  # index into `stages`
    stage_since: Moment
    promotion: Promotion | None = None

    @field_validator("stages", mode="before")
    @classmethod
    def _numbers(cls, stages: object) -> object:
        if isinstance(stages, list):
            return tuple(
                float(stage) if isinstance(stage, int) and not isinstance(stage, bool) else stage for stage in stages
            )
        return stages

    @field_validator("stages")
    @classmethod
    def _climbing(cls, stages: tuple[float, ...]) -> tuple[float, ...]:
        if not 2 <= len(stages) <= MAX_STAGES:
            raise ValueError(f"there are {len(stages)} stages; 2 to {MAX_STAGES} are possible")
        if any(not low < high for low, high in zip((0.0, *stages), stages, strict=False)):
            raise ValueError(f"the stages {list(stages)} must rise from above 0")
        if stages[-1] != 1.0:
            raise ValueError(f"the last stage is {stages[-1]:g}; it must be 1.0, the promotion")
        if stages[-2] > 0.5:
            raise ValueError(f"the stage {stages[-2]:g} leaves no equal share for the baseline; at most 0.5 does")
        return stages

    @field_validator("stage")
    @classmethod
    def _existing(cls, stage: int, info: Any) -> int:
        if stage >= len(info.data.get("stages", DEFAULT_STAGES)):
            raise ValueError(f"there is no stage {stage}")
        return stage

    def to_dict(self) -> dict[str, Any]:
        """The words of the file and of the HTTP interface, as JSON."""
        words = self.model_dump(exclude_none=True)
        return words | {"stages": list(self.stages), "stage_since": to_iso(self.stage_since)}

    @property
    def share(self) -> float:
        """Of the users who get the candidate now."""
        return self.stages[self.stage]

    @property
    def coverage(self) -> float:
        """Share of the users who take part: both arms together."""
        return min(1.0, 2.0 * self.share)

    @property
    def is_last_before_promotion(self) -> bool:
        return self.stage >= len(self.stages) - 2
