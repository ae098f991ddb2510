"""What every result can do: be saved, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Self

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.labels import Labels
from streamsvd.store.results.values import ResultEncoder


class Result:
    """Base of what verbs hand back."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> PathOrUrl:
        """Write the result as one folder, a zarr group, which `streamsvd.load` opens again.

        Parameters
        ----------
        path
            Where the folder will be, or a URL such as ``s3://bucket/R.zarr``. It is there whole or not at all.
        overwrite
            Replace a result that is there; never with anything else that lies in its folder.

        Returns
        -------
        path
            The folder: a path, or a URL.

        Raises
        ------
        StoreError
            If something is there that may not be replaced, the place is in another result, or it cannot be written; nothing
            is left then.
        SpecError
            If the result holds a function, as a kernel that is one; or arrays that are read from that place.
        """
        from streamsvd.store.results.writer import ResultWriter  # imports zarr
        from streamsvd.store.writing.separation import check_apart

        place = place_of(path)
        encoder = ResultEncoder()
        encoder.fields(self)  # what cannot be saved is refused before anything is written
        check_apart(place, list(encoder.arrays.values()), name="path=")
        writer = ResultWriter(place, overwrite=overwrite)
        return writer.commit(self)


class LabelledResult(Result):
    """A result of a matrix that has a field ``labels``: what the matrix says of its columns."""

    __slots__ = ()

    def with_labels(self, labels: Labels) -> Self:
        """The same with the labels of the matrix that it was made of."""
        found: Any = self
        return replace(found, labels=labels.of_columns)  # type: ignore[no-any-return]
