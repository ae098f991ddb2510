"""Whether what tasks are given can be sent to workers, and how much of it lies in memory and would be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any

from streamsvd.errors import SpecError

DEPTH = 8
"""Of objects within objects that are searched for the one that cannot be sent."""


def sent_bytes(shared: Any, name: str) -> int:
    """Bytes that a worker is sent; nothing of it is copied to count them.

    Parameters
    ----------
    shared
        What tasks are given.
    name
        Of what is read, for messages.

    Raises
    ------
    SpecError
        If it cannot be sent; it names what within it cannot.
    """
    try:
        return _sent_bytes(shared)
    except Exception as error:  # whatever an object of whatever library raises
        raise SpecError(_refusal(shared, name, error)) from error


def _sent_bytes(value: Any) -> int:
    from distributed.protocol.pickle import dumps

    buffers: list[Any] = []
    with _silent(logging.getLogger("distributed.protocol.pickle")):
        frame = dumps(value, buffer_callback=buffers.append)
    return len(frame) + sum(memoryview(b).nbytes for b in buffers)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Without what it writes of each object that it cannot send, with its trace: the error says it once."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _refusal(shared: Any, name: str, error: Exception) -> str:
    path = _culprit(shared, DEPTH)
    if not path:
        return f"{name} cannot be sent to workers: {error}. Pass a path or a URL, which every worker opens itself."
    culprit = path[-1]
    owners = [type(value).__name__ for value in path[:-1] if not _is_ours(value)]
    owner = owners[-1] if owners else name
    held = _kind_of(culprit)
    return f"{owner} holds {held}, which cannot be sent to workers. Open it inside read(), or give the path."


def _kind_of(value: Any) -> str:
    """What an object is, with its article."""
    if isinstance(value, FunctionType):
        return "a function that only this process has"
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    text = kind.__name__ if library in ("builtins", "__main__") else f"{library}.{kind.__name__}"
    if any(hasattr(value, name) for name in ("close", "fileno", "file")):
        return f"an open {text}"
    return f"{'an' if text[:1].lower() in 'aeiou' else 'a'} {text}"


def _is_ours(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in ("streamsvd", "builtins")


def _culprit(value: Any, depth: int, owner: str = "") -> list[Any]:
    """The objects from what is given down to the one that cannot be sent: in ours, in what the user gave, and in no library's."""
    module = type(value).__module__.partition(".")[0]
    if not _is_ours(value) and owner not in ("", module):
        return [value]
    owner = owner if _is_ours(value) else module
    for child in _children(value) if depth else ():
        if not _can_be_sent(child):
            return [value, *_culprit(child, depth - 1, owner)]
    return [value] if owner else []


def _children(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    if isinstance(value, type) or callable(value):
        return []
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    own = [getattr(value, name, None) for name in slots if isinstance(name, str)]
    return own + list(getattr(value, "__dict__", {}).values())


def _can_be_sent(value: Any) -> bool:
    """As part of an object of the user's own, whose class is sent with it: more can be sent alone than as such a part."""
    from distributed.protocol.pickle import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
    except Exception:
        return False
    return True
