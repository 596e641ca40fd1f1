"""What the MONAI Cloud dialect calls network architectures, and what each offers."""

from configs.errors import InvalidRequestError
from configs.kinds import LabelKind
from infra.adapters.catalog.tables import Bundle
from tasks.bundles.heads import kind_of

OFFERED = frozenset(
    {
        "monai_vista3d",
        "monai_annotation",
        "monai_segmentation",
        "monai_classification",
        "monai_detection",
        "monai_custom",
    }
)
OF_ANY_BUNDLE = frozenset({"monai_segmentation", "monai_classification", "monai_detection", "monai_custom"})
"""Those that say nothing about a bundle: a caller names one."""
NOT_OFFERED = frozenset({"monai_vista2d", "monai_automl", "monai_automl_generated", "monai_genai", "monai_maisi"})
_TRAINABLE = ("A", "B")
_BY_NAME = {"vista3d": "monai_vista3d", "deepedit": "monai_annotation"}
_BY_KIND: dict[LabelKind, str] = {
    "mask": "monai_segmentation",
    "class": "monai_classification",
    "boxes": "monai_detection",
}


def check_arch(arch: str) -> None:
    """Refuse an architecture that nothing here serves.

    Raises:
        InvalidRequestError: Naming those that are offered.
    """
    if arch in OFFERED:
        return
    offered = ", ".join(sorted(OFFERED))
    if arch in NOT_OFFERED:
        raise InvalidRequestError(f"network_arch {arch!r} is not offered here: use one of {offered}")
    raise InvalidRequestError(f"Invalid network arch {arch!r}: use one of {offered}")


def arch_of(bundle: Bundle) -> str:
    """Return the architecture under which a bundle is listed."""
    found = (arch for part, arch in _BY_NAME.items() if part in bundle.name.lower())
    return next(found, _BY_KIND[kind_of(bundle)])


def actions_of(bundle: Bundle) -> list[str]:
    """Return what jobs an experiment with this bundle can run: tiers A and B train, C only infers."""
    every = ["inference", "batchinfer"]
    return ["train", "annotation", *every] if bundle.tier in _TRAINABLE else every


def reason_of(bundle: Bundle) -> str:
    """Return why a bundle is of its tier, as examining it found."""
    return str(bundle.check.get("reason", ""))
