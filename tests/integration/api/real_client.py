"""Every method of MONAI Label's own client against a server; runs in an environment that has MONAI Label, not in ours.

    PYTHON tests/integration/api/real_client.py SERVER KEY MODEL IMAGE-FILE LABEL-FILE [CLIENT.PY]

With CLIENT.PY it is that file's client, such as the copy in 3D Slicer's module. Prints what each method returned.

Each call has a client of its own, as 3D Slicer's module makes them: one that is logged in keeps the headers of the form
that it sent last, boundary and length among them, and sends them with whatever it asks next.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any


def client_class(path: str) -> Any:
    """Return the class, from the file or from what is installed."""
    if not path:
        return importlib.import_module("monailabel.client.client").MONAILabelClient
    spec = importlib.util.spec_from_file_location("client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MONAILabelClient


def calls(make: Callable[[], Any], model: str, image: str, label: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each method's name and a call of it, in an order in which each finds what it needs."""
    yield "auth_enabled", lambda: make().auth_enabled()
    yield "auth_valid_token", lambda: make().auth_valid_token()
    yield "info", lambda: make().info()
    sample: dict[str, Any] = {}
    yield "next_sample", lambda: sample.update(make().next_sample("first", {})) or sample
    yield "infer", lambda: make().infer(model, sample["id"], {"result_extension": ".nrrd"})
    yield "infer, a file", lambda: make().infer(model, "", {}, file=image)
    session: dict[str, Any] = {}
    yield "create_session", lambda: session.update(make().create_session(image)) or session
    yield "get_session", lambda: make().get_session(session["session_id"])
    yield "infer, a session", lambda: make().infer(model, "", {}, session_id=session["session_id"])
    yield "remove_session", lambda: make().remove_session(session["session_id"])
    yield "upload_image", lambda: make().upload_image(image, "sent/by client")
    yield "save_label", lambda: make().save_label(sample["id"], label, params={"label_info": [{"name": "x", "idx": 1}]})
    yield "datastore", lambda: [*make().datastore()["objects"]]
    yield "download_label", lambda: make().download_label(sample["id"], "final")
    yield "train_start", lambda: make().train_start(model, {"max_epochs": 1})
    yield "train_status", lambda: make().train_status()
    yield "train_status, running", lambda: make().train_status(check_if_running=True)
    yield "train_stop", lambda: make().train_stop()


def main() -> None:
    """Call everything; what raises ends it with the method's name."""
    server, key, model, image, label, *path = sys.argv[1:]
    kind = client_class(path[0] if path else "")
    token = kind(server).auth_token("ann", key)

    def made() -> Any:
        client = kind(server, client_id="ann")
        client.update_auth(token)
        return client

    for name, call in calls(made, model, image, label):
        try:
            told = call()
        except Exception as error:
            raise SystemExit(f"{name}: {type(error).__name__}: {error} {vars(error)}") from error
        sys.stdout.write(f"{name}: {json.dumps(told, default=str)[:300]}\n")


if __name__ == "__main__":
    main()
