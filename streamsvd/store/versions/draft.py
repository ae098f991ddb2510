"""A version while it is made, in a folder that nobody else writes or reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamsvd.store.versions.arrays import Array, encode_arrays
from streamsvd.store.versions.records import Manifest, Mark, mark


@dataclass(slots=True, eq=False)
class Draft:
    """A version that is being made, in a folder of its own that nobody else sees.

    Attributes
    ----------
    version
        The number it will have.
    folder
        Where its objects go.
    arrays, files
        As in the manifest.
    pending
        Objects not written yet, by their names in the folder.
    has_group
        Whether the metadata of the group are among what was written or is pending.
    """

    version: int
    folder: str
    arrays: dict[str, str] = field(default_factory=dict)
    files: dict[str, Mark] = field(default_factory=dict)
    pending: dict[str, bytes] = field(default_factory=dict)
    has_group: bool = False

    @property
    def mark(self) -> str:
        """What tells it from every other draft."""
        return self.folder.rpartition("-")[2]

    def add(self, arrays: Mapping[str, Array]) -> dict[str, Mark]:
        """Arrays of this version; returns the marks of their objects."""
        added = {}
        for name, data in encode_arrays(arrays).items():
            key = f"{self.folder}/{name}"
            if name == "zarr.json":  # of the group: the same for all, written once
                if not self.has_group:
                    self.pending[name] = data
                    self.files[key] = mark(data)
                self.has_group = True
                continue
            self.pending[name] = data
            added[key] = mark(data)
        for name in arrays:
            self.arrays[name] = f"{self.folder}/{name}"
        self.files |= added
        return added

    def keep(self, earlier: Manifest, names: Iterable[str]) -> None:
        """Arrays of an earlier version, where they are."""
        for name in names:
            folder = earlier.arrays[name]
            self.arrays[name] = folder
            self.files |= {k: m for k, m in earlier.files.items() if k.startswith(folder + "/")}
