"""What a prediction needs to know beside the image."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class InferSpec(BaseModel):
    """Prompts and bundle parameters of one prediction. Nothing in it is executed or used as a path."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    label_prompt: tuple[int, ...] = Field(
        default=(), max_length=512, description="Indices of the labels wanted; empty = all."
    )
    points: tuple[tuple[float, float, float], ...] = Field(
        default=(), max_length=4096, description="Voxel indices (i, j, k)."
    )
    point_labels: tuple[int, ...] = Field(default=(), max_length=4096)
    params: dict[str, Any] = Field(default_factory=dict, description="What the bundle names besides.")
