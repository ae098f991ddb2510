"""Every error of the package: what was asked, what was found, what to do.

Each class is also the builtin a stranger would catch. Arguments are positional so that an error raised
on a worker can be pickled and raised again at home with its fields.
"""

from __future__ import annotations


class StreamSVDError(Exception):
    """Base of every error raised on purpose by streamsvd."""


class ShapeError(StreamSVDError, ValueError):
    """Sizes that do not fit: a rank larger than the matrix, a source that is not a matrix."""


class SpecError(StreamSVDError, ValueError):
    """An option that cannot be meant: a tolerance out of range, two options that exclude each other."""


class CheckpointMismatch(SpecError):
    """What was saved is of a run with other options, of another matrix, or cut otherwise: nothing goes on from it."""


class DescriptionError(SpecError):
    """A file that describes a pipeline is wrong; it names the place in the file, and options as files write them."""


class StoreError(StreamSVDError, OSError):
    """A store that cannot be read or written as asked: missing, corrupt, foreign, full."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class AccessError(StoreError):
    """The operating system refuses a place: its own sentence, the path, and what to do; nothing is damaged."""

    def __init__(self, doing: str, where: str, reason: str, remedy: str, number: int = 0) -> None:
        super().__init__(reason)
        self.args = (doing, where, reason, remedy, number)
        self.doing, self.where, self.reason, self.remedy = doing, where, reason, remedy
        self.errno = number or None

    def __str__(self) -> str:
        return f"cannot {self.doing} {self.where}: {self.reason}. {self.remedy}"


class MissingChunkError(StoreError):
    """A stored chunk is absent where ``missing="error"``; reading it would invent values."""

    def __init__(self, key: str, where: str) -> None:
        super().__init__(key)
        self.args = (key, where)
        self.key, self.where = key, where

    def __str__(self) -> str:
        return (
            f"chunk {self.key!r} of {self.where} is missing: reading it would silently return the fill value. "
            'Restore the chunk, or pass missing="fill" if chunks that hold only fill values were never written.'
        )


class MissingEntriesError(MissingChunkError):
    """A stored chunk of a sparse matrix is absent; it says which rows, or columns, lie in it."""

    def __init__(
        self, key: str, where: str, side: str, first: int, last: int, may_be_filled: bool = False
    ) -> None:
        super().__init__(key, where)
        self.args = (key, where, side, first, last, may_be_filled)
        self.side, self.first, self.last, self.may_be_filled = side, first, last, may_be_filled

    def __str__(self) -> str:
        remedy = (
            'Restore the chunk, or pass missing="fill" if chunks that hold only fill values were never written.'
            if self.may_be_filled
            else "Restore the chunk: a fill value in its place would be another matrix."
        )
        return (
            f"chunk {self.key!r} of {self.where} is missing, which holds entries of {self.side}s {self.first} to {self.last}. "
            f"{remedy}"
        )


class MissingObjectError(MissingChunkError):
    """An object is absent that a version of a model, or of a compressed collection, needs."""

    def __init__(self, key: str, where: str, remedy: str = "Run streamsvd repair.") -> None:
        super().__init__(key, where)
        self.args = (key, where, remedy)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.key} of {self.where} is missing. {self.remedy}"


class CorruptChunkError(StoreError):
    """A stored chunk cannot be decoded to the bytes the metadata promise."""

    def __init__(self, key: str, where: str, reason: str) -> None:
        super().__init__(key)
        self.args = (key, where, reason)
        self.key, self.where, self.reason = key, where, reason

    def __str__(self) -> str:
        return (
            f"chunk {self.key!r} of {self.where} is damaged: {self.reason}. "
            "Restore the chunk from a copy or write it again."
        )


class ConflictError(StoreError):
    """Another writer changed the model meanwhile; what was to be written is not in it."""


INF_REMEDY = (
    "Mend it where it was made, such as a division by zero; where Inf stands for a missing value, write NaN there and say by nonfinite= "
    "what that means; or leave the column out by mask=."
)
"""No policy takes Inf for missing."""


def remedy_of(value: str, of_nan: str) -> str:
    """What can be done about an entry that is ``"NaN"``, as given, or ``"Inf"``."""
    return of_nan if value == "NaN" else INF_REMEDY


class NonFiniteError(StreamSVDError, ValueError):
    """NaN or Inf in the matrix where the policy is to raise."""

    def __init__(self, value: str, row: int, column: int, chunk: str, remedy: str) -> None:
        super().__init__(value, row, column, chunk, remedy)
        self.value, self.row, self.column, self.chunk, self.remedy = (
            value,
            row,
            column,
            chunk,
            remedy,
        )

    def __str__(self) -> str:
        return f"{self.value} at row {self.row}, column {self.column} ({self.chunk}). {self.remedy}"


class FaintColumnError(StreamSVDError):
    """A column that is to be scaled, and varies by less than its squares can hold beside the others."""

    def __init__(self, column: int, spread: float) -> None:
        super().__init__(column, spread)
        self.column, self.spread = column, spread

    def __str__(self) -> str:
        return (
            f"column {self.column} varies by {self.spread:.2g}, beside entries so much larger that its squares "
            "vanish in float64: scale=True would take it for constant. Multiply it by a power of two, or pass "
            "scale=False."
        )


class Allowance(int):
    """Bytes that a run may take where a worker of the cluster allows no more.

    Attributes
    ----------
    worker
        Which, with its limit.
    slope, base
        With a limit of so many times what a plan needs, and so many bytes beside, it would do.
    """

    worker: str
    slope: float
    base: int

    def __new__(cls, allowed: int, worker: str, slope: float, base: int) -> Allowance:
        """So many bytes."""
        made = super().__new__(cls, allowed)
        made.worker, made.slope, made.base = worker, slope, base
        return made

    def __reduce__(self) -> tuple[type[Allowance], tuple[int, str, float, int]]:
        """What pickles it."""
        return Allowance, (int(self), self.worker, self.slope, self.base)


class BudgetError(MemoryError, StreamSVDError):
    """A plan needs more memory than it was allowed; raised before any block is read."""

    # MemoryError comes first: it has a __new__ of its own, which pickling of tracebacks calls.

    def __init__(self, step: str, needs: int, allowed: int, remedy: str) -> None:
        super().__init__(step, needs, allowed, remedy)
        self.step, self.needs, self.allowed, self.remedy = step, needs, allowed, remedy

    def __str__(self) -> str:
        if isinstance(self.allowed, Allowance):
            enough = int(self.needs * self.allowed.slope) + self.allowed.base
            return (
                f"{self.step} needs {self.needs:,} bytes, {self.allowed.worker} allows a plan {self.allowed:,}. "
                f"Give workers {(enough >> 20) + 1:,} MiB (--memory-limit), or fewer threads."
            )
        return (
            f"{self.step} needs {self.needs:,} bytes, "
            f"the budget allows {self.allowed:,}. {self.remedy}"
        )


class ScaleError(StreamSVDError, ArithmeticError):
    """Entries so much larger than those sampled that their squares overflow; ``size`` is one of them.

    A factorisation takes the pass again with another power of two; it reaches a caller who runs folds himself.
    """

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self.size = size

    def __str__(self) -> str:
        return (
            f"an entry of size {self.size:g} is too large for the scale that the sample suggested."
        )


class NotConverged(StreamSVDError, ArithmeticError):
    """The certificate did not reach the tolerance; ``result`` is the best answer and its certificate."""

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message, result)
        self.message, self.result = message, result

    def __str__(self) -> str:
        return self.message


class OrderWarning(UserWarning):
    """Rows were said to come in random order, and do not look like it."""
