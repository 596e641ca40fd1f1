"""What an MLflow server is given."""

from pathlib import Path

from infra.adapters.tracking.processes import server_command, server_environment


def test_a_server_answers_to_its_loopback_names_alone() -> None:
    command = server_command(5001, home=Path("/home/teachback"))
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1].split(",") == [
        "127.0.0.1",
        "127.0.0.1:5001",
        "localhost",
        "localhost:5001",
    ]


def test_a_server_learns_nothing_of_ours_and_tells_nobody() -> None:
    environment = server_environment({"TEACHBACK_KEY_FILE": "k", "PREFECT_API_AUTH_STRING": "a:b", "LANG": "C"})
    assert set(environment) == {
        "LANG",
        "DO_NOT_TRACK",
        "MLFLOW_DISABLE_TELEMETRY",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    }
