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
    dense
        Whether a sparse matrix is written with its zeros.
    transpose
        Whether the adjoint of a sparse matrix is written.
    edges
        Whether the rows of a table are the edges of a graph, of which the adjacency is written.
    nodes
        How many nodes the graph has; one more than the largest number among its edges if left out.
    symmetric
        Whether each edge goes both ways.

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
    dense: bool = option(False, "Write a sparse matrix with its zeros.")
    transpose: bool = option(False, "Write the adjoint of a sparse matrix.")
    edges: bool = option(
        False, "Rows of the table are edges of a graph: source, target, and a weight or none."
    )
    nodes: int | None = option(
        None, "Nodes of the graph [one more than the largest number; one more read]."
    )
    symmetric: bool = option(False, "Each edge goes both ways.")

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
        if self.nodes is not None:
            object.__setattr__(self, "nodes", check_integer("nodes", self.nodes, least=1))
        for name in ("nodes", "symmetric"):
            if getattr(self, name) and not self.edges:
                raise SpecError(
                    f"{name}={getattr(self, name)!r} belongs to edges of a graph. Pass edges=True, or leave it out."
                )
        if self.dense and (self.edges or self.transpose):
            other = "edges" if self.edges else "transpose"
            raise SpecError(
                f"dense=True and {other}=True do not go together. Leave dense= out, and convert what is made with it."
            )

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

    def check_dense(self, source: str) -> None:
        """Refuse what is asked of a sparse matrix, of one that is none.

        Raises
        ------
        SpecError
            If something is.
        """
        if self.transpose:
            raise SpecError(
                f"transpose=True belongs to a sparse matrix, and {source} is none. Leave it out: axis= of svd, and the other factor, "
                "are of the transpose. If its rows are edges of a graph, pass edges=True too."
            )

    def check_sparse(self, source: str) -> None:
        """Refuse what is asked of rows with all their entries, of a matrix that is written without zeros.

        Raises
        ------
        SpecError
            If something is.
        """
        if self.chunk_rows is not None:
            raise SpecError(
                f"chunk_rows={self.chunk_rows} belongs to rows with all their entries, and {source} is sparse: its chunks hold as many "
                "stored entries each. Leave it out, or pass dense=True."
            )

    @property
    def chunk_entries(self) -> int:
        """Entries of a chunk of a sparse matrix: a power of two of about so many bytes, 16 an entry."""
        return 1 << max(0, (self.chunk_bytes // 16).bit_length() - 1)

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
