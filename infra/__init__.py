"""The outside world, the doors, and what joins them."""

import sys

# GDCM's Python module takes any module called `dl` for one of Python 2 and fails on it: a folder of that name, where a
# process was started, would keep every process from reading DICOM.
sys.modules.setdefault("dl", None)  # type: ignore[arg-type]  # how Python is told that there is none
