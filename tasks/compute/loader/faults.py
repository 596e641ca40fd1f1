"""What went wrong in a bundle's own code, told to who registers it: no image and no patient is in play there."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from pydoc import ErrorDuringImport

from tasks.compute.failures import BundleFaultError, ComputeError, is_memory
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.tier import command_for

# Libraries put whole tensors into their messages, and this one goes into the catalog.
_MOST = 300
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


@contextmanager
def trying(what: str, bundle: Bundle) -> Iterator[None]:
    """Tell of a failure of the bundle's own code or configuration in one sentence.

    Args:
        what: What was tried, as the sentence begins.
        bundle: Whose folder is left out of the sentence.

    Raises:
        BundleFaultError: If the block fails with whatever error that is not ours, or one of memory.
    """
    with telling(what, lambda error: because(error, bundle)):
        yield


@contextmanager
def telling(what: str, reason: Callable[[BaseException], str]) -> Iterator[None]:
    """Tell of a failure of foreign code in one sentence.

    Args:
        what: As the sentence begins.
        reason: Says why, of what was raised.

    Raises:
        BundleFaultError: If the block fails with whatever error that is not ours, or one of memory.
    """
    try:
        yield
    except ComputeError:
        raise
    except Exception as error:  # whatever a bundle's or an app's own code raises
        if is_memory(error):
            raise
        raise BundleFaultError(f"{what}: {reason(error)}") from error


def because(error: BaseException, bundle: Bundle) -> str:
    """Return the innermost reason, without places of this machine: MONAI wraps what a component raises."""
    written = bundle.metadata.monai_version
    versions = f" (written for MONAI {written}, this is {metadata.version('monai')})" if written else ""
    return innermost(error, bundle.folder) + versions


def innermost(error: BaseException, folder: Path) -> str:
    """Return the innermost reason of an error that code in a folder raised, without places of this machine."""
    while (beneath := error.value if isinstance(error, ErrorDuringImport) else error.__cause__) is not None:
        error = beneath
    said = " ".join(str(error).replace(str(folder), "").split())[:_MOST]
    package = _package_in(error) if isinstance(error, ImportError) else ""
    if package and not _is_own(package, folder):
        return f"it needs the package {package}, which is not installed here: {command_for([package])}"
    return f"{type(error).__name__}: {said}"


def _package_in(error: ImportError) -> str:
    """Return what is not installed; MONAI says it of what is optional to it in the text alone."""
    told = _NO_MODULE.search(str(error))
    return (error.name or (told[1] if told else "")).partition(".")[0]


def _is_own(module: str, folder: Path) -> bool:
    first = folder / module.partition(".")[0]
    return first.is_dir() or first.with_suffix(".py").is_file()
