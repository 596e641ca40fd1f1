"""What clients say beside the image where they ask for a segmentation, in any of the ways that they say clicks."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.infer import InferSpec
from tasks.labels.forms.result import Ending, Kind, ResultForm
from tasks.labels.incoming.save import PREDICTIONS

Point = tuple[float, float, float]
_POINTS: TypeAdapter[list[Point]] = TypeAdapter(list[Point])
_ENDINGS: tuple[Ending, ...] = (".nii.gz", ".nii", ".nrrd")
_INSIDE, _OUTSIDE = 1, 0


class Segment(BaseModel):
    """A label of a DICOM SEG; without `idx` they are counted from 1."""

    model_config = ConfigDict(extra="ignore")

    name: str
    idx: int | None = None


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

    def form(self, image: str) -> ResultForm:
        """Return how the label map is to be written; without a word of it, like the image's own file.

        Raises:
            InvalidRequestError: If it is a form that is not offered.
        """
        said = self.result_extension
        ending = next((one for one in _ENDINGS if (said or image).lower().endswith(one)), None if said else _ENDINGS[0])
        if ending is None:
            raise InvalidRequestError(f"result_extension is {said!r}: one of {', '.join(_ENDINGS)} is written here")
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
        return {each.idx or number: each.name for number, each in enumerate(self.label_info, start=1)}

    def _clicks(self, labels: Mapping[str, int]) -> dict[str, list[Point]]:
        """Return the clicks inside of labels, by label; labels without one are left out."""
        found = {name: _points(name, said) for name, said in (self.model_extra or {}).items() if name in labels}
        if self.foreground or (self.background and not any(found.values())):
            found[self._clicked(labels)] = self.foreground
        return {name: clicks for name, clicks in found.items() if clicks}

    def _clicked(self, labels: Mapping[str, int]) -> str:
        if self.label in labels:
            return str(self.label)
        if len(labels) == 1:
            return next(iter(labels))
        known = ", ".join(labels)
        raise InvalidRequestError(f"Clicks are on the label {self.label!r}: name one of the model's as label: {known}")


def _points(name: str, said: object) -> list[Point]:
    try:
        return _POINTS.validate_python(said)
    except ValidationError:
        raise InvalidRequestError(f"The clicks on {name!r} are no list of [i, j, k]: give voxel indices") from None
