"""Whether what tasks are given can be sent to workers, and how much of it lies in memory and would be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
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
    owner, kind = (name if len(path) == 1 else type(path[-2]).__name__), type(path[-1])
    library = kind.__module__.partition(".")[0]
    what = kind.__name__ if library in ("builtins", "__main__") else f"{library}.{kind.__name__}"
    if isinstance(path[-1], type(lambda: None)):
        what = "function that only this process has"
    held = f"an open {what}" if _is_open(path[-1]) else f"{_article(what)} {what}"
    return f"{owner} holds {held}, which cannot be sent to workers. Open it inside read(), or give the path."


def _culprit(value: Any, depth: int) -> list[Any]:
    """The objects from what is given down to the deepest that cannot be sent."""
    for child in _children(value) if depth else ():
        if not _can_be_sent(child):
            return [value, *(_culprit(child, depth - 1) or [child])]
    return []


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


def _is_open(value: Any) -> bool:
    """Whether an object looks like something that was opened: a file, a connection, or a part of one."""
    return any(hasattr(value, name) for name in ("close", "fileno", "file"))


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"
