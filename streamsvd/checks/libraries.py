"""Libraries that come with an extra: asked for where they are used, and named where they are absent."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamsvd.errors import StoreError


def optional_library(name: str, extra: str, purpose: str) -> Any:
    """A library that an extra installs.

    Parameters
    ----------
    name
        Of the module, such as ``"h5py"``.
    extra
        Of this package.
    purpose
        What needs it, as the message begins: ``"x.h5 is an HDF5 file"``.

    Raises
    ------
    StoreError
        If it is not installed; it gives the line that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        why = "which is not installed"
        if not (isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]):
            why = f"which cannot be imported ({error})"
        raise StoreError(
            f"{purpose}; that needs {name}, {why}. Install it with: pip install 'streamsvd[{extra}]'"
        ) from None
