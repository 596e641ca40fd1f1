"""Which patient an image is of: by its DICOM header, or by an expression that whoever registers a folder writes.

That is read by RE2, in time linear in the path. Python's own reads some short ones in exponential time, and cannot be
stopped meanwhile.
"""

from typing import Protocol

import re2
from pydicom.dataset import Dataset

from configs.errors import InvalidRequestError

FIRST_FOLDER = r"^([^/]+)/"
# The pattern comes from a request, and compiling takes time and memory by its length.
MOST_CHARS = 200
# RE2 matches in linear time, but its automaton may grow with the pattern: here it stops.
_MEMORY_BYTES = 2**20


class Match(Protocol):
    """What an expression found."""

    def group(self, number: int, /) -> str | None:
        """Return what a group found; None if it took no part."""


class Pattern(Protocol):
    """An expression that can be looked for."""

    def search(self, text: str, /) -> Match | None:
        """Return its first match."""


def patient_pattern(expression: str) -> Pattern:
    """Return the expression, ready to be looked for.

    Raises:
        InvalidRequestError: If it is too long, none that can be read in linear time, or has no group.
    """
    if len(expression) > MOST_CHARS:
        msg = f"patient_regex has {len(expression)} characters, {MOST_CHARS} are allowed: shorten it"
        raise InvalidRequestError(msg)
    options = re2.Options()
    options.max_mem, options.log_errors = _MEMORY_BYTES, False
    try:
        found = re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error.args[0]
        msg = (
            f"patient_regex is not a regular expression that RE2 reads ({reason}): correct it;"
            " references back and looks around are not offered, since they can take for ever"
        )
        raise InvalidRequestError(msg) from None
    if found.groups < 1:
        raise InvalidRequestError("patient_regex has no group: put the patient's part in parentheses")
    pattern: Pattern = found
    return pattern


def dicom_patient(header: Dataset) -> str | None:
    """Return the patient that a series names, with who gave the name; None if it names none."""
    issuer = str(header.get("IssuerOfPatientID", "") or "")
    patient = str(header.get("PatientID", "") or "")
    return f"{issuer}^{patient}" if patient and issuer else patient or None
