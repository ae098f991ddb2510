"""What is wrong with a worker, in sentences that go on from its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamsvd.engine.worker_report import PACKAGES, versions
from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.store.sight import Address, Sight

REMEDY = (
    "Every worker reads and writes by itself: mount the folder there under the same path, or start "
    "workers only where it is"
)


def has_left(answer: Any) -> bool:
    """Whether a worker left before it answered: others do its work."""
    from distributed.comm.core import CommClosedError

    gone = isinstance(answer, CommClosedError | ConnectionError | TimeoutError)
    return gone or is_unreached(answer)


def is_unreached(answer: Any) -> bool:
    """Whether the scheduler could not connect to a worker: it is gone, or hangs."""
    return isinstance(answer, OSError) and "trying to connect" in str(answer)


def worker_fault(answer: Any, here: Mapping[Address, Sight]) -> StreamSVDError | None:
    """What is wrong with a worker that answered, beside what this process sees."""
    if has_left(answer):
        return None
    if isinstance(answer, OSError):  # an address that opens what it names when it comes
        return StoreError(f"cannot open what this process reads: {answer}. {REMEDY}")
    if isinstance(answer, BaseException):
        return StreamSVDError(
            f"cannot load what this process sends: {type(answer).__name__}: {answer}. "
            f"Install the same {', '.join(PACKAGES[:-1])} and {PACKAGES[-1]} there"
        )
    other = other_version(versions(), answer["versions"])
    if other:
        return StreamSVDError(other)
    for (address, own), sight in zip(here.items(), answer["sights"], strict=True):
        difference = sight_difference(address, own, Sight(*sight))
        if difference:
            return StoreError(difference)
    return None


def other_version(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Which package has another version there, and what to install; empty where none has."""
    for name in PACKAGES:
        if here[name] != there.get(name):
            return (
                f"has {name} {there.get(name)}, this process {here[name]}: its bits may be others. "
                f"Install {name} {here[name]} there"
            )
    if here["code"] != there.get("code"):
        return (
            f"has streamsvd {here['streamsvd']} with other code than this process. Install the same "
            "one in both"
        )
    return ""


def own_version(answer: BaseException, found: str) -> StreamSVDError | None:
    """The same for a worker that could not load what it was asked; None where that is not for another streamsvd.

    Parameters
    ----------
    answer
        What it raised instead; what it could not raise here comes as the text of it.
    found
        Its version of streamsvd, ``"none"`` without any; empty where that is not known.
    """
    own = versions()["streamsvd"]
    if found and found != own:
        there = "no streamsvd" if found == "none" else f"streamsvd {found}"
        return StreamSVDError(f"has {there}, this process {own}. Install streamsvd {own} there")
    text = f"{type(answer).__name__}: {answer}"
    if found and any(
        name in text for name in ("ModuleNotFoundError", "ImportError", "AttributeError")
    ):
        return StreamSVDError(
            f"has streamsvd {own} with other code than this process ({text}). Install the same one in both"
        )
    return None


def sight_difference(address: Address, here: Sight, there: Sight) -> str:
    """How what is seen there differs from what is seen here; empty where it does not."""
    if here.error:  # the run will say so
        return ""
    if there.error:
        return f"cannot read {address.name}: {there.error.rstrip('.')}. {REMEDY}"
    if there.metadata is None and here.metadata is not None:
        return f"does not see {address.name}: {address.metadata_name} is not there. {REMEDY}"
    if there.metadata != here.metadata:
        return f"sees another {address.name} than this process: {address.metadata_name} differs. {REMEDY}"
    if there.chunk is None and here.chunk is not None:
        return f"sees {address.name} without its {address.chunk_name}, which this process sees. {REMEDY}"
    if there.chunk != here.chunk:
        return f"sees other values in {address.chunk_name} of {address.name} than this process. {REMEDY}"
    return ""


def kernel_difference(kernels: Mapping[str, str]) -> str:
    """A warning where workers multiply by other kernels than one another; empty where they do not.

    Parameters
    ----------
    kernels
        Of each worker, by its name.
    """
    groups: dict[str, list[str]] = {}
    for worker, found in sorted(kernels.items()):
        groups.setdefault(found, []).append(worker)
    if len(groups) < 2:
        return ""
    told = "; ".join(
        f"{len(workers)} {'has' if len(workers) == 1 else 'have'} {found} ({workers[0]}{', ...' if len(workers) > 1 else ''})"
        for found, workers in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    return (
        f"workers multiply by different kernels: {told}. Values are right, but their last bits depend on which worker "
        "does what; use workers of one kind for the same bits in every run."
    )
