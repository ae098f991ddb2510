"""Members and clusters as the store keeps them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.encoding import BRAIN, EncodedCluster, EncodedResidual
from streamsvd.collections.weights import Metrics
from streamsvd.errors import SpecError
from streamsvd.store.collections import Member, MemberLayout
from streamsvd.store.collections.archive import (
    ClusterRecord,
    EditionWriter,
    MemberRecord,
    WrittenArray,
)
from streamsvd.store.collections.safetensors import to_bfloat16

Array = npt.NDArray[Any]
NO_RESIDUAL = ("", "", 0.0)
LARGEST = float(np.finfo(np.float64).max)


def member_of(name: str, record: MemberRecord) -> Member:
    """What is known of a block."""
    layout = MemberLayout(tuple(record.shape), record.columns, record.transposed)
    return Member(name, layout, np.dtype(record.dtype), record.kind, name, record.origin)


def check_storable(members: Mapping[str, Member]) -> None:
    """Refuse types that a store has no name for, and names that are no text.

    Raises
    ------
    SpecError
        It names the block.
    """
    for name, member in members.items():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SpecError(
                f"block {name!r} has a name that is no text in UTF-8. Rename it."
            ) from None
        if member.dtype.itemsize > 8:
            raise SpecError(
                f"block {name!r} holds {member.dtype}, which a store has no name for. Convert it to float64."
            )


def record_of(
    member: Member,
    cluster: int,
    array: str,
    *,
    exponent: int,
    error: float,
    norm: float,
    zeros: int,
    weighted: bool,
    residual: tuple[str, str, float] = NO_RESIDUAL,
) -> MemberRecord:
    """A block as the store keeps it."""
    layout = member.layout
    return MemberRecord(
        list(layout.array_shape), layout.columns, layout.is_transposed, member.dtype.str, member.kind, cluster, array, exponent,
        error, min(norm, LARGEST), zeros, weighted, *residual, member.origin,
    )  # fmt: skip


def put(
    writing: EditionWriter,
    number: int,
    shared: EncodedCluster,
    held: Mapping[str, Array | WrittenArray],
    members: Mapping[str, Member],
    zeros: Mapping[str, int],
    metrics: Metrics,
) -> tuple[ClusterRecord, dict[str, MemberRecord]]:
    """Write a cluster, of this number, and describe it."""
    basis = ""
    if not shared.raw:
        basis = writing.add({f"u{number}": shared.basis})[f"u{number}"]
    records = {}
    for i, name in enumerate(shared.names):
        residual = put_residual(writing, f"{number}-{i}", shared.codes[i] if shared.codes else None)
        short, folder = f"b{number}-{i}", ""
        if shared.raw or shared.rank or not residual[0]:
            values: Array | WrittenArray = shared.coefficients[i] if not shared.raw else held[name]
            if shared.raw and not isinstance(values, WrittenArray):
                values = as_stored(values, members[name])
            folder = writing.add({short: values})[short]
        records[name] = record_of(
            members[name],
            number,
            folder,
            exponent=0 if shared.raw else shared.exponents[i],
            error=shared.block_errors[i],
            norm=shared.norms[i],
            zeros=zeros.get(name, 0),
            weighted=not metrics.of(name).plain,
            residual=residual,
        )
    c = ClusterRecord(shared.rank, shared.raw, shared.error_lower, shared.error_upper, basis)
    return c, records


def put_residual(
    writing: EditionWriter, place: str, piece: EncodedResidual | None
) -> tuple[str, str, float]:
    """Write the residual of a block: folders of its codes and steps, and the step where one is for all."""
    if piece is None or not piece.code_bytes.nbytes:
        return NO_RESIDUAL
    codes, steps = f"q{place}", f"s{place}"
    if piece.steps.size == 1:
        return writing.add({codes: piece.code_bytes})[codes], "", float(piece.steps[0])
    where = writing.add({codes: piece.code_bytes, steps: piece.steps})
    return where[codes], where[steps], 0.0


def as_stored(values: Array, member: Member) -> Array:
    """An array that is kept as it is; halves of float32 take two bytes, packed values as many as they did."""
    if member.packing is not None:
        return member.packing.pack(values)
    return to_bfloat16(values) if member.kind == BRAIN else np.ascontiguousarray(values)


def from_stored(values: Array, member: Member) -> Array:
    """The array again."""
    if member.packing is not None:
        out = np.empty(values.shape, member.dtype)
        member.packing.unpack(values, out)
        return out
    if member.kind == BRAIN:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values
