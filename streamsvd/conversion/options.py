"""What `convert` may be asked, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamsvd.checks.numbers import check_integer
from streamsvd.errors import SpecError
from streamsvd.options import option

if TYPE_CHECKING:
    import numpy as np

MOST_CHUNK = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """How a matrix is written.

    Parameters
    ----------
    chunk
        Bytes of a chunk, about, or a text such as ``"16MiB"``; it holds whole rows.
    chunk_rows
        Rows of a chunk, instead.
    out_dtype
        Type of the entries, such as ``"float32"``; that in which they are read if left out.
    header
        Whether the first line of a table of text names its columns; decided by that line if left out.

    Raises
    ------
    SpecError
        If an option is out of range.
    """

    chunk: str = option("16MiB", "Bytes of a chunk of whole rows, about.")
    chunk_rows: int | None = option(None, "Rows of a chunk, instead of its bytes.")
    out_dtype: str | None = option(None, "Type of the entries, such as float32 [as they are read].")
    header: bool | None = option(
        None, "Whether the first line of a text names its columns [by that line]."
    )

    def __post_init__(self) -> None:
        if self.chunk_rows is not None:
            object.__setattr__(
                self, "chunk_rows", check_integer("chunk_rows", self.chunk_rows, least=1)
            )
        if not 0 < self.chunk_bytes <= MOST_CHUNK:
            raise SpecError(
                f"chunk={self.chunk!r} is no size of a chunk. Pass at most 1GiB, such as 16MiB."
            )
        if self.out_dtype is not None:
            object.__setattr__(self, "out_dtype", _name_of(self.out_dtype))

    def check_no_header(self, source: str) -> None:
        """Refuse what is asked of the first line of what is no text.

        Raises
        ------
        SpecError
            If something is.
        """
        if self.header is not None:
            raise SpecError(
                f"header={self.header!r} belongs to a table of text, and {source} is none. Leave it out."
            )

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk, about."""
        from streamsvd.engine.memory import parse_bytes  # what help does without

        try:
            return parse_bytes(self.chunk)
        except SpecError as error:
            raise SpecError(
                f'chunk={self.chunk!r} is no size. Pass bytes, or a text such as "16MiB".'
            ) from error

    def written_dtype(self, read: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """The type that is written, of entries that are read in another.

        Raises
        ------
        SpecError
            If it cannot hold them.
        """
        if self.out_dtype is None:
            return read
        import numpy as np  # what help does without

        found: np.dtype[np.generic] = np.dtype(self.out_dtype)
        if read.kind == "c" and found.kind != "c":
            raise SpecError(
                f"out_dtype={self.out_dtype!r} has no place for the imaginary parts of {read} entries. Pass complex64 or complex128."
            )
        return found


def _name_of(given: object) -> str:
    import numpy as np  # what help does without

    try:
        found: np.dtype[np.generic] = np.dtype(given)  # type: ignore[call-overload]
    except TypeError:
        found = np.dtype("V")
    if found.kind not in "fc" or found.itemsize > 16 or found.char == "g":
        raise SpecError(
            f"out_dtype={given!r} is no type to write in. Pass float16, float32, float64, complex64 or complex128, or leave it out: "
            "integers are written as they are."
        )
    return found.newbyteorder("=").name
