"""What the small objects of a model say, as typed records that refuse anything else.

Every record is sealed: one line of JSON and the crc32c of that line. A torn or altered record is an error
that names it, never a guess. All other objects are held against a hash and a length that a record has of them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeAlias, TypeVar

import google_crc32c
import msgspec

from streamsvd.errors import StoreError

FORMAT = 2
"""Layout of the store; older ones are read, newer ones refused. Since 2 a summary says what is proved beside the error."""

Mark: TypeAlias = tuple[int, int]
"""Hash and length of a stored object."""

HASH_BYTES = 6
"""Of a mark: below 2**53, so that every reader of JSON keeps all digits."""

VersionKind: TypeAlias = Literal["update", "base", "rollback", "merge", "repair"]
R = TypeVar("R")


class NewerFormatError(StoreError):
    """Written by a newer release: whole, but not for this one to read, and never to repair."""


def mark(data: bytes) -> Mark:
    """The mark of an object's bytes.

    Not a crc: that of data which end with their own crc, as chunks do, is the same for all data, and two chunks
    that changed places would not be seen.
    """
    return int.from_bytes(hashlib.blake2b(data, digest_size=HASH_BYTES).digest()), len(data)


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What made the versions, and what every block must agree with.

    ``width`` is the extent that does not grow; ``kind`` that of numpy's types; ``columns`` a digest of the
    column names where they were given; ``scaled`` whether a fixed factor multiplies every column. ``buffer`` is settled
    with the first block; None in models begun before that was so.
    """

    rank: int | None
    tol: float | None
    buffer: int | None
    max_rank: int
    center: bool
    forget: float
    robust: bool
    seed: int
    delta: float
    axis: Literal["rows", "columns"] = "rows"
    window: int | None = None
    u: bool = False
    scaled: bool = False
    width: int | None = None
    kind: str | None = None
    columns: str | None = None

    @property
    def digest(self) -> str:
        """Digest of all of it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class StoredNumbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of float64 in C order, in base64."""

    shape: tuple[int, ...]
    data: str


class StoredCoordinate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stood along a dimension of a mask or of weights: ``numbers`` with what their unit says, or ``texts``."""

    name: str
    numbers: StoredNumbers | None = None
    texts: tuple[str, ...] = ()
    units: str = ""
    calendar: str = ""


class StoredMask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mask that waits for the first block: the ``name`` of an array beside it or ``"auto"``, or booleans.

    ``bits`` are those of the booleans in C order, eight a byte, in base64, ``dims`` the names of their dimensions, and
    ``coordinates`` what stood along these: the first block has to have the same.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    bits: str = ""
    dims: tuple[str, ...] = ()
    coordinates: tuple[StoredCoordinate, ...] = ()


class StoredWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Weights of columns that wait for the first block: a ``name``, or words and numbers by dimension, or numbers under "".

    ``dims`` are the names of the dimensions of these, ``coordinates`` what stood along them. With nothing of it, they are those of the result that a model extends.
    """

    name: str = ""
    along: dict[str, str] = {}
    arrays: dict[str, StoredNumbers] = {}
    dims: tuple[str, ...] = ()
    coordinates: tuple[StoredCoordinate, ...] = ()


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``model.json``: what the model was created with; ``base`` if it extends a result of `svd`.

    ``mask`` says which columns the first block is to keep, ``column_weights`` by what columns are multiplied; models without one are
    written as releases before it wrote them, and those with one are refused by these.
    """

    format: int
    spec: ModelSpec
    keep: int
    base: bool
    mask: StoredMask | None = None
    column_weights: StoredWeights | None = None


class LedgerRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of `streamsvd.models.mathematics.incremental.Ledger`."""

    energy: float
    discarded: float
    discarded_norm: float
    truncations: int
    height: int
    failure: float
    proved: bool
    deficit: float = 0.0


class FactorRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A factor whose arrays are stored under ``prefix``."""

    prefix: str
    weight: float
    n_rows: int
    ledger: LedgerRecord


class BlockEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block, or one piece of a block that was too large for memory, in the order of absorption.

    ``digest`` is of all rows of the block, on its last piece; ``seam`` of the last row. ``step`` counts
    pieces within a version; ``files`` are the objects of its left vectors, which outlive the version. ``origin``
    is the mark of the commit that absorbed it, whatever model that was; empty in models made before there were any.
    """

    id: str
    start: int
    stop: int
    version: int
    folder: str
    step: int
    digest: str
    seam: str
    captured: float
    files: dict[str, Mark] = {}
    origin: str = ""


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored run of block entries."""

    key: str
    hash: int
    length: int
    count: int


class VersionSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the log tells of a version without opening it.

    ``captured`` is the share of the new energy that the basis held before; ``angles`` the principal angles
    (radians) between the leading subspaces before and after; ``error`` and ``error_lower`` bound the relative
    Frobenius error of the rank asked for and of the best one. ``excess`` is how far the first can be above the best
    error, as a share of it, None where nothing is proved; ``resolved`` how many values are known to `options.TOL`,
    ``groups`` how many runs of touching intervals there are. Versions made before these were told have None.
    """

    blocks: list[str]
    rows: int
    n_rows: int
    rank: int
    error: float
    error_lower: float
    captured: float | None
    angles: list[float]
    tolerance_met: bool
    excess: float | None = None
    resolved: int | None = None
    groups: int | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a version consists of.

    ``arrays`` maps names to folders of arrays, this version's or earlier ones'; ``files`` has every stored
    object of them. Versions below ``floor`` may have been collected.
    """

    format: int
    version: int
    kind: VersionKind
    spec: ModelSpec
    floor: int
    factor: FactorRecord
    nodes: dict[str, FactorRecord]
    first: int
    n_blocks: int
    n_rows: int
    arrays: dict[str, str]
    files: dict[str, Mark]
    segments: list[Segment]
    tail: list[BlockEntry]
    summary: VersionSummary


class LogEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``log/N.json``: that version N exists, where, and what it is."""

    format: int
    version: int
    kind: VersionKind
    folder: str
    manifest: Mark
    schema: str
    writer: str
    time: str
    summary: VersionSummary


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``head.json``: a version that exists; the log may be further, never behind."""

    version: int


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Someone reads a version until ``expires`` (seconds since 1970)."""

    version: int
    expires: float


REPAIR_REMEDY = "Run streamsvd repair."
"""What mends a model."""


def seal(record: Any) -> bytes:
    """The record as one line of JSON, and the checksum of that line."""
    line = msgspec.json.encode(record)
    return line + b"\n%08x\n" % google_crc32c.value(line)


def unseal(data: bytes, kind: type[R], key: str, remedy: str = REPAIR_REMEDY) -> R:
    """The record again.

    Raises
    ------
    StoreError
        If it is torn, altered, or of a newer format; it names the key, and ends with the remedy.
    """
    line, _, rest = data.partition(b"\n")
    if rest != b"%08x\n" % google_crc32c.value(line):
        raise StoreError(f"{key} is damaged: its checksum does not match. {remedy}".rstrip())
    return plain_record(line, kind, key, remedy)


def plain_record(data: bytes, kind: type[R], key: str, remedy: str = REPAIR_REMEDY) -> R:
    """A record whose checksum is held elsewhere."""
    try:
        found = msgspec.json.decode(data)
        if (
            isinstance(found, dict)
            and isinstance(found.get("format"), int)
            and found["format"] > FORMAT
        ):
            raise NewerFormatError(
                f"{key} has format {found['format']}, this version reads up to {FORMAT}. Upgrade streamsvd."
            )
        return msgspec.convert(found, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{key} is damaged: {error}. {remedy}".rstrip()) from error
