"""`python -m infra.adapters.orchestration.worker POOL...`: Prefect's process worker for several pools, in one process.

`prefect worker start` serves one pool; a second one would hold the same imports again.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

import anyio
from prefect.logging.configuration import setup_logging
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker


async def serve(pools: Sequence[str]) -> None:
    """Run the flow runs of *pools* as processes of this machine until a signal comes."""
    async with anyio.create_task_group() as workers:
        for pool in pools:
            workers.start_soon(ProcessWorker(work_pool_name=pool).start)


if __name__ == "__main__":
    setup_logging()
    # Prefect's own: a first signal lets the runs end, a second one does not.
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    asyncio.run(serve(sys.argv[1:]))
