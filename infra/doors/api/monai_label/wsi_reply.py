"""Outlines of a region as viewers read them: our JSON, Digital Slide Archive's annotation, ASAP's XML."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from pydantic import BaseModel, Field

from infra.doors.api.monai_label.infer_reply import Latencies
from tasks.images.picture import Region
from tasks.labels.forms.outlines import Outline

XML = "application/xml"
Point = tuple[float, float]
# Steps of the golden ratio: however many labels there are, neighbours differ in hue.
_HUE_STEP = 0.618


class Annotation(BaseModel):
    """A label's outlines, in pixels of the whole picture, (column, row)."""

    label: str
    idx: int
    contours: list[list[Point]]


class RegionAnswer(BaseModel):
    """What a region was found to hold, a label after the other."""

    name: str
    description: str
    model: str
    location: tuple[int, int]
    size: tuple[int, int]
    annotations: list[Annotation]
    latencies: Latencies

    @classmethod
    def of(
        cls, model: str, region: Region, outlines: Sequence[Outline], labels: Mapping[int, str], latencies: Latencies
    ) -> "RegionAnswer":
        """Say it of one region."""
        found: dict[int, list[list[Point]]] = {}
        for outline in outlines:
            found.setdefault(outline.value, []).append(outline.points.round(2).tolist())
        return cls(
            name=f"Teachback: {model}",
            description=f"{sum(map(len, found.values()))} outlines by {model}, level {region.level}",
            model=model,
            location=region.location,
            size=region.size,
            annotations=[
                Annotation(label=labels.get(value, str(value)), idx=value, contours=contours)
                for value, contours in sorted(found.items())
            ],
            latencies=latencies,
        )


class DsaLabel(BaseModel):
    """What an element is called."""

    value: str


class DsaElement(BaseModel):
    """One closed outline; points have a depth, 0."""

    type: Literal["polyline"] = "polyline"
    closed: bool = True
    points: list[tuple[float, float, float]]
    label: DsaLabel
    group: str
    line_color: str = Field(serialization_alias="lineColor")
    line_width: float = Field(default=2, serialization_alias="lineWidth")


class DsaAnnotation(BaseModel):
    """An annotation document of the Digital Slide Archive (large_image_annotation's schema)."""

    name: str
    description: str
    elements: list[DsaElement]

    @classmethod
    def of(cls, answer: RegionAnswer) -> "DsaAnnotation":
        """Say the same in its words."""
        elements = [
            DsaElement(
                points=[(*point, 0.0) for point in contour],
                label=DsaLabel(value=each.label),
                group=each.label,
                line_color=_colour(each.idx),
            )
            for each in answer.annotations
            for contour in each.contours
        ]
        return cls(name=answer.name, description=answer.description, elements=elements)


def asap(answer: RegionAnswer) -> bytes:
    """Return the same as a file of ASAP."""
    root = Element("ASAP_Annotations")
    drawn, groups = SubElement(root, "Annotations"), SubElement(root, "AnnotationGroups")
    for each in answer.annotations:
        colour = _colour(each.idx)
        group = SubElement(groups, "Group", Name=each.label, PartOfGroup="None", Color=colour)
        SubElement(group, "Attributes")
        for number, contour in enumerate(each.contours):
            said = {"Name": f"{each.label} {number}", "Type": "Polygon", "PartOfGroup": each.label, "Color": colour}
            points = SubElement(SubElement(drawn, "Annotation", said), "Coordinates")
            for order, (column, row) in enumerate(contour):
                SubElement(points, "Coordinate", Order=str(order), X=str(column), Y=str(row))
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _colour(index: int) -> str:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(index * _HUE_STEP % 1, 0.8, 0.9))
    return f"#{red:02x}{green:02x}{blue:02x}"
