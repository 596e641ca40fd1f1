"""What clients say beside the image where they ask for a segmentation, in any of the ways that they say clicks."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.infer import InferSpec
from tasks.labels.forms.result import Ending, Kind, ResultForm
from tasks.labels.incoming.save import PREDICTIONS

Point = tuple[float, float, float]
_POINTS: TypeAdapter[list[Point]] = TypeAdapter(list[Point])
_ENDINGS: tuple[Ending, ...] = (".nii.gz", ".nii", ".nrrd")
_INSIDE, _OUTSIDE = 1, 0


class Segment(BaseModel):
    """A label of a DICOM SEG, by its value in the result; without `idx` they are counted from 1. 0 is no segment."""

    model_config = ConfigDict(extra="ignore")

    name: str
    idx: int | None = Field(default=None, ge=0, le=65535)


class InferParams(BaseModel):
    """The original's words, read as far as something here answers to them; a label's name may hold clicks on it."""

    model_config = ConfigDict(extra="allow")

    result_extension: str = ""
    result_dtype: Kind = "uint8"
    result_compress: bool = False
    save_label: bool = False
    label_tag: str = PREDICTIONS
    client_id: str = ""
    label: str | None = Field(default=None, description="The label that `foreground` and `background` are clicks on.")
    foreground: list[Point] = Field(default_factory=list)
    background: list[Point] = Field(default_factory=list)
    label_prompt: tuple[int, ...] = ()
    points: list[Point] = Field(default_factory=list)
    point_labels: tuple[int, ...] = ()
    label_info: list[Segment] | None = Field(default=None, description="A DICOM SEG's segments.")

    @field_validator("result_extension")
    @classmethod
    def _is_written(cls, said: str) -> str:
        if said and _ending(said) is None:
            msg = f"{said!r} is asked for: one of {', '.join(_ENDINGS)} is written here"
            raise ValueError(msg)
        return said

    def form(self, image: str) -> ResultForm:
        """Return how the label map is to be written; without a word of it, like the image's own file."""
        ending = _ending(self.result_extension or image) or _ENDINGS[0]
        return ResultForm(ending=ending, kind=self.result_dtype, packed=self.result_compress and ending == ".nrrd")

    def spec(self, labels: Mapping[str, int]) -> InferSpec:
        """Return the prompts as the model takes them.

        Args:
            labels: The model's, name to index.

        Raises:
            InvalidRequestError: If clicks are on several labels at once, or on none that the model has.
        """
        if self.points or self.point_labels or self.label_prompt:
            return InferSpec(label_prompt=self.label_prompt, points=tuple(self.points), point_labels=self.point_labels)
        inside = self._clicks(labels)
        if not inside and not self.background:
            return InferSpec()
        if len(inside) != 1:
            named = ", ".join(inside) or "no label"
            raise InvalidRequestError(f"Clicks belong to one label, and these are on {named}: ask label by label")
        [(name, clicks)] = inside.items()
        return InferSpec(
            label_prompt=(labels[name],),
            points=(*clicks, *self.background),
            point_labels=(*(_INSIDE,) * len(clicks), *(_OUTSIDE,) * len(self.background)),
        )

    def segments(self) -> dict[int, str]:
        """Return the segments of a DICOM SEG, number to name.

        Raises:
            NotFoundError: If they are not said; a 404, as of the original.
        """
        if self.label_info is None:
            raise NotFoundError(
                "label_info in the params: a DICOM SEG names its segments by it, as", '[{"name", "idx"}]'
            )
        said = enumerate(self.label_info, start=1)
        named = {number if each.idx is None else each.idx: each.name for number, each in said}
        return {value: name for value, name in named.items() if value}

    def _clicks(self, labels: Mapping[str, int]) -> dict[str, list[Point]]:
        """Return the clicks inside of labels, by label; of those without one only that of clicks outside of it."""
        named = {name: _points(name, said) for name, said in (self.model_extra or {}).items() if name in labels}
        found = {name: clicks for name, clicks in named.items() if clicks}
        if self.foreground or (self.background and not found):
            found[self._clicked(labels)] = self.foreground
        return found

    def _clicked(self, labels: Mapping[str, int]) -> str:
        if self.label in labels:
            return str(self.label)
        if len(labels) == 1:
            return next(iter(labels))
        known = ", ".join(labels)
        raise InvalidRequestError(f"Clicks are on the label {self.label!r}: name one of the model's as label: {known}")


def _ending(name: str) -> Ending | None:
    return next((one for one in _ENDINGS if name.lower().endswith(one)), None)


def _points(name: str, said: object) -> list[Point]:
    try:
        return _POINTS.validate_python(said)
    except ValidationError:
        raise InvalidRequestError(f"The clicks on {name!r} are no list of [i, j, k]: give voxel indices") from None
