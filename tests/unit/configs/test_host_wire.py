"""Framing and schema of the messages between a parent and its bundle host."""

import io

import pytest
from pydantic import ValidationError

from configs.wire.framing import FramingError, frame, read_frame
from configs.wire.host import COMMANDS, MESSAGES, Failed, Metric, Predict


def test_messages_survive_the_wire() -> None:
    message = Metric(name="val_mean_dice", step=3, value=0.5)
    stream = io.BytesIO(frame(message) + frame(message))
    bodies = [read_frame(stream), read_frame(stream)]
    assert [MESSAGES.validate_json(body or b"") for body in bodies] == [message, message]
    assert read_frame(stream) is None


def test_a_message_longer_than_a_mebibyte_is_refused_before_it_is_read() -> None:
    with pytest.raises(FramingError, match="announces"):
        read_frame(io.BytesIO(b"\xff\xff\xff\xff"))
    with pytest.raises(FramingError, match="ended"):
        read_frame(io.BytesIO(b"\x00\x00\x00\x09{"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"metric","name":"m","step":1,"value":NaN}',
        b'{"kind":"metric","name":"m","step":1,"value":1,"more":2}',
        b'{"kind":"shell","command":"rm"}',
        b'{"kind":"progress","epoch":-1,"max_epoch":1,"step":0,"max_step":1}',
        b"[]",
    ],
)
def test_what_is_not_in_the_schema_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationError):
        MESSAGES.validate_json(body)


@pytest.mark.parametrize("name", ["../a.nii.gz", "/a.nii", ".nii", "a.mha", "a/b.nii"])
def test_a_prediction_cannot_be_written_elsewhere(name: str) -> None:
    with pytest.raises(ValidationError):
        Predict(id="1", version="v", image=["i"], name=name)


def test_a_failure_may_be_about_one_request_or_all() -> None:
    assert COMMANDS.validate_python({"kind": "stop"})
    assert Failed(code="bad_input", message="m").id is None
