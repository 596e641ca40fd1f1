"""kill -9 of Prefect's and MLflow's servers in mid-round: the round does not notice, and both are told everything.

On PostgreSQL: `test_backup.py`, where an installation is restored on it.
"""

import pytest

from tests.crash.ward import Ward, outlives_both_servers


@pytest.mark.slow
def test_a_round_outlives_both_servers_while_labels_and_inference_do_not_notice(ward: Ward) -> None:
    outlives_both_servers(ward)
