"""Which strategy would have needed fewer labels: a labelled data set, replayed."""

from collections.abc import Callable
from hashlib import sha256

from configs.errors import ConflictError, NotFoundError
from configs.specs.simulation import SimulationSpec
from infra.adapters.catalog import datasets, experiments
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.simulation.curves import Simulated
from tasks.simulation.replay import Say
from tasks.simulation.run import simulate as replay
from tasks.simulation.tracked import track


def simulate(
    parts: Parts,
    caller: Caller,
    dataset: str,
    experiment: str,
    spec: SimulationSpec,
    *,
    target: float | None,
    say: Say,
    keep: Callable[[Simulated], None],
) -> tuple[Simulated, bool]:
    """Replay a data set's labels; see `tasks.simulation.run.simulate`. Its curves go to MLflow where one answers.

    Args:
        parts: The adapters.
        caller: Who asks; an engineer.
        dataset: Name or id.
        experiment: Name or id; empty = the only one that learns from the data set.
        spec: What is simulated.
        target: See there.
        say: See there.
        keep: Given the curves before MLflow is.

    Returns:
        The curves, and whether they are in MLflow.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set or experiment.
        ConflictError: If several experiments learn from the data set and none was named.
        TrackingError: If MLflow answers and does not take them; said again, only that is done again.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        row = datasets.find(session, caller.org, dataset)
        using = experiments.using(session, caller.org, row.id, "train")
        if not experiment and len(using) > 1:
            names = ", ".join(repr(each.name) for each in using)
            raise ConflictError(f"{len(using)} experiments learn from {dataset!r}: name one of {names} by --experiment")
        if not experiment and not using:
            raise NotFoundError("experiment that learns from data set", dataset)
        chosen = experiments.find(session, caller.org, experiment) if experiment else using[0]
    folder = parts.settings.home / "simulations" / f"{chosen.id}-{row.id}"
    found = replay(parts, chosen.id, row.id, spec, folder=folder, target=target, say=say)
    keep(found)
    tracked = parts.tracking.healthy()
    if tracked:
        key = sha256(f"{chosen.id} {row.id} {spec.model_dump_json()}".encode()).hexdigest()
        track(parts, found, key)
    return found, tracked
