"""The manifest of a data set in an object store, written anew with the labels that the data set has by now."""

from collections.abc import Iterator
from itertools import chain, groupby

from configs.errors import InvalidRequestError
from infra.adapters.catalog import datasets as catalog
from infra.adapters.catalog import labels
from infra.adapters.images.objects.store import ObjectStore
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.labels.choosing.choose import chosen, rules_of


def exported(parts: Parts, caller: Caller, name: str) -> Iterator[str]:
    """Return a copy of a data set's manifest, in pieces, with the label that each image would train with.

    The user's own is never changed. It cannot name a label that is not in that store (`labels_to`, or not written yet).

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has neither a data set of this id nor of this name.
        InvalidRequestError: If it has no manifest.
        StoreError: If its store cannot be read.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        dataset = catalog.find(session, caller.org, name)
        rules = rules_of(session, dataset.id)
        rows = labels.active_up_to(session, dataset.id, dataset.label_seq)
        of_image = groupby(sorted(rows, key=lambda row: row.Image.id), key=lambda row: row.Image.key)
        trained = {key: chosen([row.Label for row in found], rules) for key, found in of_image}
    there = {key: each[0] for key, each in trained.items() if each and each[0].place == "store"}
    stored = {key: label.store_key for key, label in there.items() if not label.upload_pending}
    store = store_of(parts, dataset.id)
    if not isinstance(store, ObjectStore):
        raise InvalidRequestError("Only a data set in an object store has a manifest: this one is of another kind")
    pieces = store.written(stored)
    return chain([next(pieces)], pieces)  # a store that cannot be read says so before anything is answered
