"""The state of a long run, saved so that a kill costs no more than what came since: each save exists once, whole.

Arrays go to a folder with a random name; a save exists from the moment at which ``log/N.json`` is created, which can
succeed once. Two runs that save to one place are told: a save whose predecessor is not the newest is refused, and what goes
away while it is read or written went with another run.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsvd.errors import ConflictError, CorruptChunkError, StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.objects import Objects, objects_at
from streamsvd.store.versions.arrays import Array, decode_array, encode_arrays
from streamsvd.store.versions.model_store import is_model, log_key, version_numbers
from streamsvd.store.versions.records import FORMAT, Mark, mark, seal, unseal

_APART = "Give every run a checkpoint of its own, or run this one again once the other has ended."
KEEP = 2
"""Saves kept: the newest, and the one before in case that it is damaged."""


def holds_saves(address: str | os.PathLike[str]) -> bool:
    """Whether anything was saved at a path, or a URL of an object store."""
    return bool(version_numbers(objects_at(address).names("log")))


def saved_purpose(address: str | os.PathLike[str]) -> str:
    """What saved at a place; empty where nothing was.

    Raises
    ------
    StoreError
        If the newest save is damaged.
    """
    objects = objects_at(address)
    found = version_numbers(objects.names("log"))
    if not found:
        return ""
    key = log_key(found[-1])
    return unseal(objects.read(key), SaveRecord, f"{objects.name}/{key}", remedy="").purpose


class SaveRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``log/N.json``: what was saved, and the marks of its objects by key."""

    format: int
    number: int
    purpose: str
    plain: dict[str, Any]
    arrays: dict[str, str]
    files: dict[str, Mark]


@dataclass(slots=True, eq=False)
class Checkpoint:
    """Saves below one root.

    Parameters
    ----------
    objects
        Where they are kept.
    purpose
        What saves them; a place of another purpose is refused.
    number
        The newest save that this run knows of; 0 before the first.
    """

    objects: Objects
    purpose: str
    number: int = 0

    @classmethod
    def from_address(cls, address: str | os.PathLike[str], purpose: str) -> Checkpoint:
        """Below a path, or a URL of an object store."""
        return cls(objects_at(address, "checkpoint"), purpose)

    def newest(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """What was saved last, plain values and arrays; None if nothing was.

        Raises
        ------
        ConflictError
            If another run saves there, or ends, while this one reads.
        StoreError
            If a model is there, or nothing of what was saved is whole.
        """
        found = self._numbers()
        if is_model(self.objects):
            raise StoreError(
                f"{self.objects.name} is a model. Choose another place for a checkpoint."
            )
        if not found:
            return None
        self.number = found[-1]
        damage: StoreError | None = None
        for number in reversed(found):
            try:
                return self._read(number)
            except StoreError as error:
                damage = damage or error
        assert damage is not None
        if self._numbers() != found:
            raise ConflictError(
                f"what was saved in {self.objects.name} changed while it was read: another run uses it, or has just ended. "
                f"{_APART}"
            )
        raise StoreError(
            f"no save in {self.objects.name} is whole: {damage} Remove it to begin anew."
        )

    def _read(self, number: int) -> tuple[dict[str, Any], dict[str, Array]]:
        key = log_key(number)
        try:
            data = self.objects.read(key)
        except FileNotFoundError:
            raise CorruptChunkError(key, self.objects.name, "it is missing") from None
        saved = unseal(data, SaveRecord, f"{self.objects.name}/{key}", remedy="")
        if saved.purpose != self.purpose:
            raise StoreError(
                f"{self.objects.name} was saved by {saved.purpose}, not by {self.purpose}. Choose another place."
            )
        return saved.plain, {
            name: decode_array(self._objects(folder, saved.files))
            for name, folder in saved.arrays.items()
        }

    def _objects(self, folder: str, files: Mapping[str, Mark]) -> dict[str, bytes]:
        found = {}
        for key, expected in files.items():
            if not key.startswith(folder + "/"):
                continue
            try:
                data = self.objects.read(key)
            except FileNotFoundError:
                raise CorruptChunkError(key, self.objects.name, "it is missing") from None
            if mark(data) != tuple(expected):
                raise CorruptChunkError(key, self.objects.name, "its checksum does not match")
            found[key.removeprefix(folder + "/")] = data
        return found

    def save(self, plain: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """The next save; when it returns, it survives a power cut.

        Raises
        ------
        ConflictError
            If another run has saved meanwhile, or has removed what is written here.
        StoreError
            If it cannot be written; the save before is intact.
        """
        number = self.number + 1
        folder = f"saves/{number:012d}-{uuid.uuid4().hex[:12]}"
        names = {name: f"a{index}" for index, name in enumerate(arrays)}
        pending = encode_arrays({names[name]: value for name, value in arrays.items()})
        record = SaveRecord(
            FORMAT,
            number,
            self.purpose,
            dict(plain),
            {name: f"{folder}/{short}" for name, short in names.items()},
            {f"{folder}/{key}": mark(data) for key, data in pending.items()},
        )
        with explain_errors(
            self.objects.name, "the save before is intact, so that you can run again."
        ):
            # none at all is what another run leaves that ended: it takes nothing from this one
            created = (self._numbers() or [self.number])[-1] == self.number
            if created:
                try:
                    self.objects.write(folder, pending)
                    created = self.objects.create(log_key(number), seal(record))
                except FileNotFoundError as error:
                    raise ConflictError(
                        f"what was being saved to {self.objects.name} was removed meanwhile: another run used it, and has ended, "
                        f"or its folder was removed. {_APART}"
                    ) from error
        if not created:
            self.objects.clear(folder)
            raise ConflictError(f"another run saves to {self.objects.name}. {_APART}")
        self.number = number
        self._forget(number - KEEP)

    def _numbers(self) -> list[int]:
        return version_numbers(self.objects.names("log"))

    def _forget(self, last: int) -> None:
        old = [n for n in self._numbers() if n <= last]
        self.objects.remove([log_key(n) for n in old])
        for name in self.objects.names("saves"):
            if name[:12].isdigit() and int(name[:12]) <= last:
                self.objects.clear(f"saves/{name}")

    def clear(self) -> None:
        """Remove every save: the run is over."""
        self.objects.remove([log_key(n) for n in self._numbers()])
        for folder in ("saves", "log"):  # with the folders that they leave
            self.objects.clear(folder)
        self.number = 0
