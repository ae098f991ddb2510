"""What an operating system says of a write, turned into what to do about it."""

from __future__ import annotations

from contextlib import AbstractContextManager

from streamsvd.errors import StoreError


class explained(AbstractContextManager[None]):
    """An OSError of the block becomes a `StoreError` that names the place and the remedy."""

    def __init__(self, place: object, remedy: str) -> None:
        self._place, self._remedy = place, remedy

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(f"cannot write {self._place}: {error}. {self._remedy}") from error
