"""What is left behind, who mends it, and which test makes that fault: none is missing, and no check is without one."""

import ast
from pathlib import Path
from typing import NamedTuple

from tasks.reconcile.checks import checks, upkeep

ROOT = Path(__file__).parents[2]


class Row(NamedTuple):
    """A fault, what is done about it, the checks that do it, and the tests that make it (below tests/)."""

    fault: str
    mended: str
    checks: tuple[str, ...]
    tests: tuple[str, ...]


HERE = "integration/reconcile"
ATTEMPTS, SLOTS = f"{HERE}/test_attempts.py", f"{HERE}/test_slots.py"
TURNS = "integration/rounds/test_turns.py"
TABLE = [
    Row(
        "an outbox entry is due and nobody has taken it",
        "every process delivers; what waited for Prefect is due when that is back",
        ("outbox: Prefect is back",),
        (
            f"{HERE}/test_loop.py::test_the_loops_deliver_what_waits_reconcile_and_stop",
            f"{HERE}/test_loop.py::test_what_waited_for_prefect_is_due_at_once_when_it_answers_again",
            "integration/delivery/test_dispatch.py::",
        ),
    ),
    Row(
        "a job waits and its start was delivered, but the run ended before its claim, or is gone",
        "the next attempt; none is used up while Prefect is away",
        ("attempts: never started", "attempts: flow run ended"),
        (
            f"{ATTEMPTS}::test_a_run_that_ended_before_its_claim_is_followed_by_the_next_attempt",
            f"{ATTEMPTS}::test_a_run_that_is_gone_is_followed_by_the_next_attempt",
            f"{ATTEMPTS}::test_while_prefect_is_away_no_attempt_is_used_up",
            f"{ATTEMPTS}::test_an_attempt_that_nobody_was_asked_to_start_is_started",
        ),
    ),
    Row(
        "a job came after another one, which has ended",
        "started, or ended in Error with it",
        ("jobs: what they waited for has ended",),
        (
            f"{TURNS}::test_a_job_that_comes_after_another_starts_once_that_is_done",
            f"{TURNS}::test_a_job_fails_with_the_one_that_it_comes_after",
        ),
    ),
    Row(
        "a claimed attempt's lease is over",
        "lost; the next attempt, or Error when they are used up; its processes on this machine are killed",
        ("attempts: lease over",),
        (
            f"{ATTEMPTS}::test_an_attempt_not_renewed_in_time_is_lost_and_its_processes_are_ended",
            f"{ATTEMPTS}::test_three_attempts_without_progress_end_the_round_and_its_loop_with_the_reason",
        ),
    ),
    Row(
        "a job was asked to cancel or to pause and no attempt lives",
        "Canceled, Paused",
        ("jobs: asked to end",),
        (f"{ATTEMPTS}::test_a_job_asked_to_end_that_nobody_works_on_is_closed",),
    ),
    Row(
        "a person cancelled the run of the current attempt in Prefect",
        "the job is cancelled",
        ("attempts: flow run ended",),
        (
            f"{ATTEMPTS}::test_a_run_cancelled_in_prefect_before_its_claim_cancels_the_round",
            f"{ATTEMPTS}::test_a_run_cancelled_in_prefect_while_it_trains_shows_at_once_and_ends_when_its_process_did",
        ),
    ),
    Row(
        "a run lives and its attempt is over",
        "cancelled, then written off",
        ("runs: attempt over",),
        (
            f"{ATTEMPTS}::test_a_run_whose_attempt_is_over_is_cancelled_and_then_written_off",
            f"{ATTEMPTS}::test_the_run_of_a_finished_round_is_written_off_only_when_its_process_is_gone",
        ),
    ),
    Row(
        "a loop is due and has no round open",
        "the round is opened, and said to be a fault of ours",
        ("rounds: due",),
        (f"{HERE}/test_rounds.py::test_a_round_that_is_due_and_not_open_is_opened_once",),
    ),
    Row(
        "a loop's count is not the number of images that it counts",
        "repaired, once an hour, and said to be a fault of ours",
        ("rounds: recounted",),
        (f"{HERE}/test_rounds.py::test_a_count_that_drifted_is_repaired_once_an_hour",),
    ),
    Row(
        "a wanted slot was not heard of in time; an unwanted one is held by nobody",
        "lost and started again; stopped",
        ("slots: lease over", "slots: not wanted"),
        (
            f"{SLOTS}::test_a_slot_not_heard_of_in_time_is_lost",
            f"{SLOTS}::test_a_slot_not_wanted_and_not_held_is_stopped",
        ),
    ),
    Row(
        "a slot's run is dead, gone or was cancelled by a person",
        "a new run, which adopts a slot that serves; switched off",
        ("slots: not watched",),
        (
            f"{SLOTS}::test_a_slot_whose_run_is_dead_gets_a_new_one_which_adopts_it_or_starts_it",
            f"{SLOTS}::test_a_run_that_is_gone_is_replaced",
            f"{SLOTS}::test_a_run_cancelled_in_prefect_switches_its_slot_off_though_the_hook_was_lost",
        ),
    ),
    Row(
        "a device is claimed by a process that is dead",
        "freed",
        ("devices: claims over",),
        ("integration/devices/test_claims.py::",),
    ),
    Row(
        "no replica can serve what was published",
        "rolled back by the system",
        ("publications: failed everywhere",),
        (f"{SLOTS}::test_a_publication_that_no_slot_can_serve_is_rolled_back_once",),
    ),
    Row(
        "MLflow was not told what a running round said",
        "told",
        ("tracking: behind",),
        (f"{HERE}/test_rounds.py::test_mlflow_is_told_while_a_round_trains_and_not_twice_at_once",),
    ),
    Row(
        "an alias in MLflow names another version than the catalog",
        "rewritten within a minute",
        ("tracking: aliases",),
        ("integration/delivery/test_shown.py::test_an_alias_that_somebody_moved_is_put_back",),
    ),
    Row(
        "what MLflow was to be told waits, and MLflow answers again",
        "told at once, from the last event on",
        ("outbox: MLflow is back",),
        ("integration/delivery/test_shown.py::test_a_killed_mlflow_stops_nothing_and_is_complete_when_it_is_back",),
    ),
    Row(
        "leases, tokens, answers kept for repeated requests, messages of webhooks and deliveries whose time is over",
        "removed",
        ("rows: over",),
        (f"{HERE}/test_loop.py::test_rows_whose_time_is_over_are_removed_and_no_others",),
    ),
    Row(
        "the clock was set back: leases, deliveries and tokens seem to last for as long as it was wrong",
        "they end when they would if they began now",
        ("times: clock was set back",),
        (
            f"{HERE}/test_clock.py::test_after_the_clock_was_set_back_nothing_waits_for_the_time_that_it_showed",
            f"{HERE}/test_clock.py::test_a_dead_attempt_is_missed_although_the_clock_was_set_back",
        ),
    ),
    Row(
        "a slot that was started on first use is idle",
        "switched off",
        ("slots: not used",),
        ("integration/devices/test_on_demand.py::",),
    ),
    Row(
        "a data set's store failed",
        "asked again, after half a minute at first and every quarter of an hour at last",
        ("data sets: degraded",),
        (f"{HERE}/test_stores.py::test_a_degraded_data_set_is_asked_ever_more_rarely_until_it_is_back",),
    ),
    Row(
        "a blob that nothing names; what a killed put, scoring or round left on disk",
        "removed, once a day: blobs after a week, files of jobs a day after these ended",
        ("files: not named",),
        (
            f"{HERE}/test_files.py::test_a_blob_stays_as_long_as_a_row_or_a_snapshot_names_it",
            f"{HERE}/test_files.py::test_what_a_killed_process_left_of_a_job_goes_a_day_after_the_job_ended",
            "unit/infra/adapters/artifacts/test_blobs.py::test_what_a_killed_put_began_goes_when_it_is_old",
        ),
    ),
]


def test_every_check_is_in_the_table_and_the_table_names_no_other() -> None:
    assert {name for row in TABLE for name in row.checks} == {each.name for each in [*checks(), *upkeep()]}


def test_every_test_that_the_table_names_is_there() -> None:
    named = [test.split("::") for row in TABLE for test in row.tests]
    assert [f"{file}::{name}" for file, name in named if name not in ("", *_tests(ROOT / file))] == []


def _tests(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
