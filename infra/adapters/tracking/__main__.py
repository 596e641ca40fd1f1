"""`python -m infra.adapters.tracking`: an MLflow server in one process.

`mlflow server` keeps a second one that only started the first, and holds its imports a second time: 200 MB, and five
seconds of processor time at every start.
"""

import argparse
import os
from pathlib import Path

import uvicorn
from mlflow import server
from mlflow.server.handlers import initialize_backend_stores

_ROOT = "mlflow-artifacts:/"  # clients send artifacts to the server, and never learn its folders


def main() -> None:
    """Serve what `--home` holds until a signal comes."""
    asked = argparse.ArgumentParser()
    for name in ("--host", "--port", "--home", "--allowed-hosts"):
        asked.add_argument(name, required=True)
    given = asked.parse_args()
    store = f"sqlite:///{Path(given.home) / 'mlflow.db'}"
    # What `mlflow server` tells the process that it starts.
    os.environ |= {
        server.BACKEND_STORE_URI_ENV_VAR: store,
        server.REGISTRY_STORE_URI_ENV_VAR: store,
        server.ARTIFACT_ROOT_ENV_VAR: _ROOT,
        server.ARTIFACTS_DESTINATION_ENV_VAR: str(Path(given.home) / "artifacts"),
        server.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": given.allowed_hosts,
    }
    initialize_backend_stores(store, store, _ROOT)
    uvicorn.run("mlflow.server.fastapi_app:app", host=given.host, port=int(given.port))


if __name__ == "__main__":
    main()
