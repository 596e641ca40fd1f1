"""Who may be killed, at which moment, and which test kills it there: each test that is named is there."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE, ATTEMPTS = "crash", "integration/reconcile/test_attempts.py"
IN_TRAINING = f"{HERE}/test_killed_in_training.py"
ROUND = f"{HERE}/test_killed_round.py::test_a_round_killed_at_any_of_its_points_is_ended_once_by_the_next_attempt"
# (who, at its worst moment) → (what mends it, tests below tests/)
TABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("API", "a label is committed, no answer sent"): (
        f"{HERE}/test_killed_api.py::test_a_label_outlives_the_api_that_is_killed_before_its_reply_and_saved_again_counts_nothing_more",
        f"{HERE}/test_killed_saves.py::test_no_label_is_lost_or_doubled_when_the_api_is_killed_at_its_worst_moments",
    ),
    ("API", "a label's bytes are stored, its unit is not committed"): (
        f"{HERE}/test_killed_saves.py::test_no_label_is_lost_or_doubled_when_the_api_is_killed_at_its_worst_moments",
        "integration/reconcile/test_files.py::test_a_blob_stays_as_long_as_a_row_or_a_snapshot_names_it",
    ),
    ("API", "any moment of a save"): (
        f"{HERE}/test_killed_saves.py::test_no_label_is_lost_or_doubled_when_the_api_is_killed_at_any_moment",
        "unit/infra/adapters/cache/test_scratch.py::test_what_a_killed_process_wrote_goes_with_the_next_one_s_start_and_a_living_one_s_stays",
    ),
    ("dispatcher", "the flow run is created, the outbox not marked"): (
        f"{HERE}/test_killed_flow.py::test_a_dispatcher_killed_before_it_noted_the_run_starts_no_second_one",
        "integration/delivery/test_dispatch.py::test_an_entry_delivered_again_after_a_crash_starts_no_second_run",
    ),
    ("flow process", "before its claim"): (
        f"{ATTEMPTS}::test_a_run_that_ended_before_its_claim_is_followed_by_the_next_attempt",
        f"{ATTEMPTS}::test_a_run_that_was_killed_on_its_way_to_the_claim_is_followed_by_the_next_attempt_and_ended",
    ),
    ("flow process", "claimed, gathering, before a step's mark"): (ROUND,),
    ("flow process", "training"): (
        "integration/orchestration/test_by_hand.py::test_a_run_whose_process_is_killed_is_followed_by_the_next_attempt_which_ends_the_round",
        f"{IN_TRAINING}::test_a_round_whose_flow_is_killed_goes_on_from_its_checkpoint_and_is_published_once",
    ),
    ("flow process", "weights are put, no version row"): (ROUND,),
    ("flow process", "published, not finished"): (ROUND,),
    ("bundle host", "any"): (
        f"{IN_TRAINING}::test_a_round_whose_bundle_host_is_killed_goes_on_from_its_checkpoint_and_is_published_once",
    ),
    ("worker", "any"): (f"{IN_TRAINING}::test_a_round_does_not_miss_its_worker_that_is_killed_and_started_again",),
    ("machine", "any"): (
        f"{HERE}/test_killed_flow.py::test_a_killed_machine_is_followed_by_the_next_attempt_though_prefect_believes_in_the_first",
    ),
    ("slot's parent", "under load"): (
        f"{HERE}/test_killed_slot.py::",
        "integration/realtime/test_slot.py::test_a_slot_that_is_killed_is_started_again",
    ),
    ("slot's host", "under load"): (
        "integration/realtime/test_slot.py::test_a_host_that_is_killed_under_load_comes_back",
    ),
    ("babysitter", "any"): (
        "integration/realtime/test_flow.py::test_a_slot_outlives_its_flow_is_adopted_by_the_next_and_ends_with_a_cancel",
        "integration/reconcile/test_slots.py::test_a_slot_whose_run_is_dead_gets_a_new_one_which_adopts_it_or_starts_it",
        "integration/reconcile/test_slots.py::test_a_run_whose_process_died_with_its_worker_is_followed_by_another_though_prefect_believes_in_it",
    ),
    ("Prefect server", "in mid-round"): (
        f"{HERE}/test_killed_servers.py::test_a_round_outlives_both_servers_while_labels_and_inference_do_not_notice",
        f"{HERE}/test_backup.py::test_on_postgresql_a_round_outlives_both_servers",
    ),
    ("MLflow", "in mid-round"): (
        f"{HERE}/test_killed_servers.py::test_a_round_outlives_both_servers_while_labels_and_inference_do_not_notice",
        f"{HERE}/test_backup.py::test_on_postgresql_a_round_outlives_both_servers",
        "integration/delivery/test_shown.py::test_a_killed_mlflow_stops_nothing_and_is_complete_when_it_is_back",
    ),
    ("catalog", "any"): (
        "integration/realtime/test_catalog_away.py::test_without_its_catalog_a_slot_answers_and_then_follows_what_was_published",
    ),
    ("reconciler", "any"): (
        "integration/reconcile/test_clock.py::test_a_killed_reconciler_is_followed_by_another_when_its_lease_is_over",
    ),
}


def test_every_test_that_the_table_names_is_there() -> None:
    named = [test.split("::") for tests in TABLE.values() for test in tests]
    assert [f"{file}::{name}" for file, name in named if name not in ("", *_tests(ROOT / file))] == []


def _tests(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
