"""`/metrics` and the processes' logs: for the operator, with an admin key."""

from collections.abc import Iterator
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.errors import answers
from infra.services.operating import installation
from infra.services.operating.installation import Numbers

_REFUSALS = answers(False, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_OURS = "/api/teachback/v1"
router = APIRouter(tags=["monitoring"], responses=_REFUSALS)
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)


class Meter:
    """Counts the requests of this process. Endpoints are named, never paths: these name images."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        names = ("endpoint", "status")
        self._requests = Counter("teachback_requests", "Requests answered.", names, registry=self._registry)
        self._seconds = Histogram(
            "teachback_request_seconds", "Time to answer.", ("endpoint",), buckets=_SECONDS, registry=self._registry
        )
        self._inference = Histogram(
            "teachback_inference_seconds",
            "Time until a segmentation was answered.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def count(self, endpoint: str, status: int, seconds: float, *, inference: bool) -> None:
        """Note one answer."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)
        if inference:
            self._inference.observe(seconds)

    def text(self, numbers: Numbers) -> bytes:
        """Return everything in Prometheus's text format, the catalog's numbers with it."""
        once = CollectorRegistry()
        once.register(_Catalog(numbers))
        return generate_latest(self._registry) + generate_latest(once)


class _Catalog:
    """The catalog's numbers, as Prometheus's client collects them."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """Return one gauge per kind of number."""
        for name, help_text, label, counts in (
            ("teachback_labels", "Labels.", "state", self._numbers.labels),
            ("teachback_slots", "Realtime slots.", "state", self._numbers.slots),
            ("teachback_rounds", "Rounds and trainings that have ended.", "outcome", self._numbers.rounds),
        ):
            family = GaugeMetricFamily(name, help_text, labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        yield GaugeMetricFamily(
            "teachback_stuck_deliveries", "Deliveries that fail for a day.", value=self._numbers.stuck_deliveries
        )


class LogResponse(BaseModel):
    """One process's log."""

    name: str
    size: int
    modified_at: float


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request, parts: PartsDep, caller: CallerDep) -> Response:
    """Return requests, latencies, labels, rounds and slots in Prometheus's text format."""
    meter: Meter = request.app.state.meter
    return Response(meter.text(installation.numbers(parts, caller)), media_type=CONTENT_TYPE_LATEST)


@router.get(f"{_OURS}/logs")
def list_logs(parts: PartsDep, caller: CallerDep) -> list[LogResponse]:
    """List the logs of this machine's processes."""
    found = installation.logs(parts, caller)
    return [LogResponse(name=each.name, size=each.size, modified_at=each.modified_at) for each in found]


@router.get(f"{_OURS}/logs/{{name}}", response_class=PlainTextResponse)
def get_log(name: str, parts: PartsDep, caller: CallerDep) -> str:
    """Return the last MiB of one log."""
    return installation.log(parts, caller, name)
