"""Experiments: made from a base experiment, served or not, changed, deleted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, TeachbackError
from configs.kinds import LabelKind
from configs.names import plain
from infra.adapters.catalog import audit, datasets, slots
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.experiments import Uses
from infra.adapters.catalog.tables import Bundle, Experiment, Job, ModelVersion
from infra.adapters.catalog.tables.base import new_id, now
from infra.services.callers import Caller, Right, allow
from infra.services.data import workspaces
from infra.services.data.workspaces import ResultsTo, choice
from infra.services.learning.archs import OF_ANY_BUNDLE, check_arch
from infra.services.learning.bases import of_one
from infra.services.learning.bundles import at_address
from infra.services.learning.experiment_requests import Datasets, ExperimentChange, NewExperiment, ShownExperiment
from infra.services.listing import Cut, Page, cut
from infra.wiring import Parts
from tasks.bundles.heads import check_head, kind_of, same_head
from tasks.bundles.orders import check_strategy
from tasks.bundles.waiting import refuse_waiting
from tasks.publishing.first import publish_first
from tasks.reconcile.loop import wake
from tasks.rounds.jobs.cancel import cancel
from tasks.selection.ask import ask_for_order
from tasks.serving.slots import switch_off, wait_ready, wait_stopped, want

SHOWN_JOBS = 1000
"""Jobs that an experiment shows, the newest; all of them are at its jobs."""
LISTED_JOBS = 20
"""The same where experiments are listed."""
_FIELDS = {
    "train": "train_datasets",
    "eval": "eval_dataset",
    "inference": "inference_dataset",
    "calibration": "calibration_dataset",
}


@dataclass(frozen=True)
class ExperimentView:
    """An experiment with what belongs to it."""

    row: Experiment
    bundle: Bundle
    uses: Uses
    jobs: Sequence[Job] = field(default=())


def create(parts: Parts, caller: Caller, request: NewExperiment) -> ExperimentView:
    """Make an experiment; a realtime one is answered once its servers are ready, or leaves nothing behind.

    Raises:
        BundleError: If the bundle at its `bundle_url` does not work here.
        ForbiddenError: If the caller may not.
        InvalidRequestError: If base, data sets or labels do not fit, the quota is used up, or a server is not ready
            in time.
    """
    allow(caller, Right.MANAGE_EXPERIMENTS)
    check_arch(request.arch)
    # Outside of the unit: it is fetched and run, which takes seconds or minutes.
    own = _own_bundle(parts, caller, request)
    workspace = choice(parts, caller, request.results or ResultsTo(), request.name)
    with parts.catalog.write() as session:
        if own is not None:
            base = of_one(session, caller.org, own, name=request.name, arch=request.arch)
            request = request.model_copy(update={"base": [base.id]})
        row = _insert(session, caller, request)
        row.workspace_id = workspace(session)
        wanted = [
            want(session, row, parts.settings.realtime_quota, replica=replica).id
            for replica in range(request.replicas if request.realtime else 0)
        ]
        audit.record(session, caller.org, caller.subject, "experiment.create", row.id, realtime=request.realtime)
        experiment_id = row.id
    wake()
    # Outside of the unit: starting a server takes seconds, and it reads what the unit wrote.
    try:
        _wait(parts, experiment_id, wanted, request.ready_within_s)
    except TeachbackError:
        if row.workspace_id and request.results and request.results.place:
            workspaces.remove(parts, caller, row.workspace_id)  # made for this one alone
        raise
    return get(parts, caller, experiment_id)


def get(parts: Parts, caller: Caller, experiment_id: str) -> ExperimentView:
    """Return an experiment of the organisation, or a base experiment, with its jobs.

    Raises:
        NotFoundError: If there is none of this id.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = catalog.get(session, caller.org, experiment_id)
        return _views(session, [row], {row.id: catalog.newest_jobs(session, row.id, SHOWN_JOBS)})[0]


def find(parts: Parts, caller: Caller, name: str) -> ExperimentView:
    """Return the organisation's experiment of this id or name.

    Raises:
        NotFoundError: If there is neither.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return _views(session, [catalog.find(session, caller.org, name)], {})[0]


def listed(
    parts: Parts,
    caller: Caller,
    page: Page,
    *,
    keep: Callable[[Experiment], bool] | None = None,
    own: bool = True,
    bases: bool = True,
) -> Cut[ExperimentView]:
    """Return a page of the organisation's experiments and of the base experiments."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        found = cut(catalog.listed(session, caller.org, own=own, bases=bases), page, keep=keep)
        jobs = {row.id: catalog.newest_jobs(session, row.id, LISTED_JOBS) for row in found.rows if not row.base}
        return Cut(_views(session, found.rows, jobs), found.total)


def change(parts: Parts, caller: Caller, experiment_id: str, request: ExperimentChange) -> ExperimentView:
    """Change what the request names, and nothing else. Switching realtime inference off is for good.

    Raises:
        NotFoundError: If there is none of this id.
        InvalidRequestError: If the change is not allowed; nothing is changed then.
    """
    allow(caller, Right.MANAGE_EXPERIMENTS)
    name = request.name or get(parts, caller, experiment_id).row.name
    workspace = choice(parts, caller, request.results or ResultsTo(), name)

    def changed(session: Session) -> list[str]:
        """Check and write while the row is held; return the slots that are to stop."""
        _check_uses(session, caller.org, request.datasets)
        row = catalog.get(session, caller.org, experiment_id, for_change=True)
        _check_change(session, row, request)
        _write(session, row, request)
        if request.results is not None:
            row.workspace_id = workspace(session)
        stopping = _switch_off(session, row) if request.realtime is False else []
        named = sorted(request.model_fields_set)
        audit.record(session, caller.org, caller.subject, "experiment.change", experiment_id, fields=named)
        return stopping

    stopping = parts.catalog.unit(changed)
    for slot_id in stopping:
        wait_stopped(parts, slot_id)
    return get(parts, caller, experiment_id)


def remove(parts: Parts, caller: Caller, experiment_id: str) -> ExperimentView:
    """Hide an experiment once its servers have stopped, so that others may start; its versions, jobs and audit stay.

    Raises:
        NotFoundError: If there is none of this id.
        InvalidRequestError: If it is a base experiment.
        ConflictError: If one of its jobs has not ended.
    """
    allow(caller, Right.MANAGE_EXPERIMENTS)
    view = get(parts, caller, experiment_id)

    def hidden(session: Session) -> list[str]:
        """Hide the row, held, so that no job starts meanwhile; return its slots."""
        row = catalog.get(session, caller.org, experiment_id, for_change=True)
        _refuse_base(row, to_delete=True)
        running = catalog.open_jobs(session, experiment_id)
        if running:
            ids = ", ".join(job.id for job in running)
            raise ConflictError(f"Experiment in use: cancel its jobs {ids} first")
        stopping = _switch_off(session, row)
        row.deleted_at = session.scalar(select(now()))
        audit.record(session, caller.org, caller.subject, "experiment.delete", experiment_id)
        return stopping

    for slot_id in parts.catalog.unit(hidden):
        wait_stopped(parts, slot_id)
    return view


def cancel_all_jobs(parts: Parts, caller: Caller, experiment_id: str) -> None:
    """Cancel every job of the experiment that has not ended.

    Raises:
        NotFoundError: If there is none of this id.
    """
    allow(caller, Right.RUN_JOBS)

    def cancelled(session: Session) -> None:
        """Cancel what is open; a base experiment, which all may see, is left alone."""
        row = catalog.get(session, caller.org, experiment_id)
        if row.org == caller.org:
            for job in catalog.open_jobs(session, experiment_id):
                cancel(session, job.id, caller.subject)
            audit.record(session, caller.org, caller.subject, "experiment.cancel_all_jobs", experiment_id)

    parts.catalog.unit(cancelled)


def _views(session: Session, rows: Sequence[Experiment], jobs: Mapping[str, Sequence[Job]]) -> Sequence[ExperimentView]:
    uses = catalog.uses(session, [row.id for row in rows])
    bundles = {bundle_id: catalog.bundle(session, bundle_id) for bundle_id in {row.bundle_id for row in rows}}
    return [ExperimentView(row, bundles[row.bundle_id], uses[row.id], jobs.get(row.id, ())) for row in rows]


def _insert(session: Session, caller: Caller, request: NewExperiment) -> Experiment:
    _check_uses(session, caller.org, request.datasets)
    base, source = _base(session, caller.org, request)
    bundle = catalog.bundle(session, base.bundle_id)
    refuse_waiting(bundle)
    labels = _labels(request.labels, base.labels, kind_of(bundle))
    check_head(bundle, labels)
    if source is not None and not same_head(bundle, labels, base.labels):
        names = ", ".join(base.labels.values())
        msg = f"Provided base_experiment cannot be added: its weights were trained for {names}, in this order"
        raise InvalidRequestError(f"{msg}; leave model_params.labels out, or name a base experiment")
    row = Experiment(
        id=new_id(),
        org=caller.org,
        name=request.name,
        description=request.description,
        arch=request.arch,
        bundle_id=bundle.id,
        base_experiment_id=base.id,
        labels=labels,
        learns=kind_of(bundle),
        strategy=request.strategy,
        realtime=request.realtime,
        shown=request.shown.model_dump(mode="json"),
        created_by=caller.subject,
    )
    # What starts from trained weights goes on in their lineage: a patient's side stays what it was.
    row.lineage = base.lineage if source is not None else row.id
    check_strategy(bundle, row.strategy)
    session.add(row)
    session.flush()
    publish_first(session, row, actor=caller.subject, source=source)
    for use, dataset_ids in request.datasets.by_use().items():
        catalog.set_use(session, row.id, use, dataset_ids)
    return row


def _own_bundle(parts: Parts, caller: Caller, request: NewExperiment) -> Bundle | None:
    """Return the bundle at the request's address, registered; None where it names a base instead."""
    if request.bundle_url and request.base:
        raise InvalidRequestError("An experiment has one bundle: give bundle_url or base_experiment, not both")
    return at_address(parts, caller, request.bundle_url) if request.bundle_url else None


def _base(session: Session, org: str, request: NewExperiment) -> tuple[Experiment, ModelVersion | None]:
    """Return the base and, if it is an experiment of the organisation, the version to start from."""
    if not request.base and request.arch in OF_ANY_BUNDLE:
        raise InvalidRequestError(
            "Either `bundle_url` or `ngc_path` needs to be defined for MONAI Custom Model: give bundle_url, or a"
            " base_experiment"
        )
    if len(request.base) != 1:
        msg = f"base_experiment has to name exactly one experiment, not {len(request.base)}: take a base experiment"
        raise InvalidRequestError(f"{msg} from the list of experiments")
    try:
        base = catalog.get(session, org, request.base[0])
    except NotFoundError as error:
        raise InvalidRequestError(f"Provided base_experiment cannot be added: {error}") from None
    if base.arch != request.arch:
        msg = f"Provided base_experiment cannot be added: its network_arch is {base.arch!r}, not {request.arch!r}"
        raise InvalidRequestError(msg)
    if base.base:
        if request.from_job is not None:
            msg = f"additional_id_info names a job, and base_experiment {base.id} is a base experiment, which has none"
            raise InvalidRequestError(f"{msg}: leave it out, or name the job's experiment as base_experiment")
        return base, None
    if request.from_job is None:
        msg = f"Non-NGC base_experiment {base.id} needs job_id in the request for path location: additional_id_info"
        raise InvalidRequestError(f"{msg} names the train job whose weights are taken over")
    try:
        return base, catalog.version_of_job(session, base.id, request.from_job)
    except (NotFoundError, InvalidRequestError) as error:
        raise InvalidRequestError(f"Provided additional_id_info cannot be used: {error}") from None


def _labels(asked: Mapping[int, str] | None, default: Mapping[str, str], learns: LabelKind) -> dict[str, str]:
    if asked is None:
        return dict(default)
    labels = {str(index): name for index, name in sorted(asked.items()) if index or learns != "mask"}
    if not labels:
        raise InvalidRequestError("Labels cannot be empty: give model_params.labels as {index: name}, or leave it out")
    if len({plain(name) for name in labels.values()}) < len(labels):
        raise InvalidRequestError("Two labels have the same name: labels are told apart by their names")
    return labels


def _other_labels(session: Session, row: Experiment, asked: Mapping[int, str]) -> dict[str, str]:
    """Return labels that an experiment may change to: its versions must still mean what they say."""
    bundle = catalog.bundle(session, row.bundle_id)
    labels = _labels(asked, row.labels, kind_of(bundle))
    check_head(bundle, labels)
    trained = any(version.weights is not None for version in catalog.versions(session, row.id))
    if trained and not same_head(bundle, row.labels, labels):
        names = ", ".join(row.labels.values())
        msg = f"Cannot change experiment labels: its model versions were trained for {names}, in this order"
        raise InvalidRequestError(f"{msg}; make another experiment for other labels")
    return labels


def _check_uses(session: Session, org: str, asked: Datasets) -> None:
    for use, dataset_ids in asked.by_use().items():
        for dataset_id in dataset_ids:
            try:
                datasets.get(session, org, dataset_id)
            except NotFoundError as error:
                raise InvalidRequestError(f"Provided {_FIELDS[use]} cannot be added: {error}") from None


def _wait(parts: Parts, experiment_id: str, slot_ids: Sequence[str], timeout_s: float) -> None:
    """Wait for all servers; if one is not ready in time the experiment and its slots go."""
    try:
        for slot_id in slot_ids:
            wait_ready(parts, slot_id, timeout_s)
    except TeachbackError:
        parts.catalog.unit(partial(_give_up, experiment_id=experiment_id))
        raise


def _give_up(session: Session, experiment_id: str) -> None:
    row = session.get_one(Experiment, experiment_id)
    _switch_off(session, row)
    row.deleted_at = session.scalar(select(now()))
    base = session.get(Experiment, row.base_experiment_id) if row.base_experiment_id else None
    if base is not None and base.base and base.org is not None:
        base.deleted_at = row.deleted_at


def _switch_off(session: Session, row: Experiment) -> list[str]:
    """Want no server for this experiment any more; return the slots that were wanted."""
    wanted = [slot for slot in slots.of_experiment(session, row.id, for_change=True) if slot.desired]
    for slot in wanted:
        switch_off(session, slot, "realtime inference was switched off")
    row.realtime = False
    return [slot.id for slot in wanted]


def _refuse_base(row: Experiment, *, to_delete: bool = False) -> None:
    if row.base and (row.org is None or not to_delete):
        raise InvalidRequestError("A base experiment is read-only: make an experiment that names it as its base")


def _check_change(session: Session, row: Experiment, request: ExperimentChange) -> None:
    _refuse_base(row)
    if request.arch is not None and request.arch != row.arch:
        raise InvalidRequestError("Cannot change experiment network_arch")
    if request.base is not None and request.base != [row.base_experiment_id]:
        raise InvalidRequestError("Cannot change experiment base_experiment: make another experiment of the other base")
    if request.realtime is True and not row.realtime:
        raise InvalidRequestError("Can only change realtime_infer from True to False.")
    fixed = "labels" in request.model_fields_set or "train" in request.datasets.model_fields_set
    running = catalog.open_jobs(session, row.id) if fixed else ()
    if running:
        msg = f"Cannot change experiment labels or train_datasets while job {running[0].id} has not ended: cancel it"
        raise InvalidRequestError(msg)


def _write(session: Session, row: Experiment, request: ExperimentChange) -> None:
    if request.name is not None:
        row.name = request.name
    if request.description is not None:
        row.description = request.description
    if request.labels is not None:
        row.labels = _other_labels(session, row, request.labels)
    if request.strategy is not None:
        check_strategy(catalog.bundle(session, row.bundle_id), request.strategy)
        row.strategy = request.strategy
        ask_for_order(session, row)
    if request.shown:
        row.shown = ShownExperiment.model_validate({**row.shown, **request.shown}).model_dump(mode="json")
    for use, dataset_ids in request.datasets.by_use().items():
        catalog.set_use(session, row.id, use, dataset_ids)
