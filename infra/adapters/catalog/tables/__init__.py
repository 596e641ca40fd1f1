"""The catalog's tables, a module per noun. Importing this package registers all of them."""

from infra.adapters.catalog.tables.base import Base
from infra.adapters.catalog.tables.data import (
    Dataset,
    Image,
    ImageInfo,
    Label,
    LabelEvent,
    LabelTag,
    Lease,
    SeenLabel,
    Unspoken,
    Upload,
    Vocabulary,
    Workspace,
)
from infra.adapters.catalog.tables.devices import Device, DeviceClaim
from infra.adapters.catalog.tables.edge import Audit, IdempotencyKey, LoopLease, Outbox
from infra.adapters.catalog.tables.hooks import Hook, HookMessage
from infra.adapters.catalog.tables.jobs import Attempt, Decision, Job, PatientSide, PendingImage, StepMark
from infra.adapters.catalog.tables.models import (
    Bundle,
    Candidate,
    CaseScore,
    Experiment,
    ExperimentDataset,
    Features,
    ModelVersion,
    Publication,
)
from infra.adapters.catalog.tables.people import ApiKey, BearerToken, Organisation, VaultValue
from infra.adapters.catalog.tables.serving import Slot

__all__ = [
    "ApiKey",
    "Attempt",
    "Audit",
    "Base",
    "BearerToken",
    "Bundle",
    "Candidate",
    "CaseScore",
    "Dataset",
    "Decision",
    "Device",
    "DeviceClaim",
    "Experiment",
    "ExperimentDataset",
    "Features",
    "Hook",
    "HookMessage",
    "IdempotencyKey",
    "Image",
    "ImageInfo",
    "Job",
    "Label",
    "LabelEvent",
    "LabelTag",
    "Lease",
    "LoopLease",
    "ModelVersion",
    "Organisation",
    "Outbox",
    "PatientSide",
    "PendingImage",
    "Publication",
    "SeenLabel",
    "Slot",
    "StepMark",
    "Unspoken",
    "Upload",
    "VaultValue",
    "Vocabulary",
    "Workspace",
]
