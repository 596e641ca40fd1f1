"""`teachback status`: how things are."""

from configs.wire.status import Health, LoopStatus, SlotStatus, Status
from infra.doors.cli.client import OURS, Client, HomeOption, JsonOption, KeyOption, UrlOption
from infra.doors.cli.terminal import lines, noun, publication, show_json, show_table, terminal

app = noun("How things are: counts, loops, realtime slots.")


@app.command()
def status(url: UrlOption = "", key: KeyOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show counts, open annotation loops, realtime slots, and whether the parts answer.

    For example:

        teachback status --json
    """
    with Client.of(url, key, home) as client:
        answer = client.request("GET", f"{OURS}/status")
        found = client.get_as(Status, answer)
    if as_json:
        show_json(answer.json())
        return
    lines([("server", client.url), *((name.replace("_", " "), count) for name, count in found.counts)])
    _show_loops(found.loops)
    _show_slots(found.slots)
    terminal().print()
    _show_health(found.health)


def _show_loops(loops: list[LoopStatus]) -> None:
    show_table(
        "\nAnnotation loops",
        {
            "experiment": lambda row: row.experiment,
            "status": lambda row: row.status,
            "labels waiting": lambda row: f"{row.pending} of {row.round_size}",
            "rounds": lambda row: (
                row.rounds_done if row.max_rounds is None else f"{row.rounds_done} of {row.max_rounds}"
            ),
            "running": lambda row: row.open_round,
            "best": lambda row: row.best_metric,
            "message": lambda row: row.message,
        },
        loops,
        none="No annotation loop is open.",
    )


def _show_slots(slots: list[SlotStatus]) -> None:
    show_table(
        "\nRealtime slots",
        {
            "experiment": lambda row: row.experiment,
            "replica": lambda row: row.replica,
            "state": lambda row: row.state,
            "serves publication": lambda row: publication(row.serving_seq),
            "newest publication": lambda row: publication(row.published_seq),
            "error": lambda row: row.error,
        },
        slots,
        none="No realtime slot.",
    )


def _show_health(health: Health) -> None:
    lines(
        [
            ("Prefect answers", health.orchestrator),
            ("deliveries that are stuck", health.stuck_deliveries),
            ("cage of bundle code", health.isolation),
            *((f"data set {name}", f"degraded: {reason}") for name, reason in health.degraded.items()),
        ]
    )
