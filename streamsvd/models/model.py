"""A model that stays true: every block enters it once, whatever is killed, sent again or raced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamsvd.checks.paths import is_url, local_path
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import SpecError, StoreError
from streamsvd.factor.export_methods import ExportMethods
from streamsvd.factor.result import SVD
from streamsvd.factor.row_methods import RowMethods
from streamsvd.info import Info, Status
from streamsvd.labels import ROW, Dimension, Labels
from streamsvd.models.absorption import Absorption, UpdateReport
from streamsvd.models.labels import MOST_BLOCKS, join_rows, unpack_labels
from streamsvd.models.left_vectors import LeftVectors
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.models.mathematics.incremental import IncrementalResult
from streamsvd.models.new_rows import UpdateRequest
from streamsvd.models.options import UpdateOptions, change_spec, method_of
from streamsvd.models.policies import current_spelling
from streamsvd.models.settings import is_vacant, new_settings, settings_of_result
from streamsvd.models.state import ModelState, load_state
from streamsvd.models.weights import first_weights, stored_weights
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.columns import Columns
from streamsvd.numerics.ledger import Ledger
from streamsvd.numerics.step_records import RowStepRecord
from streamsvd.numerics.support import degrees_of_freedom
from streamsvd.protocols import Source
from streamsvd.store.objects import objects_at
from streamsvd.store.results.reader import is_result, read_lazy_array, read_result
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.store.versions import (
    DEFAULT_KEEP,
    BlockEntry,
    Damage,
    LogEntry,
    ModelSettings,
    ModelSpec,
    ModelStore,
    VersionSummary,
    check_store,
    collect,
    is_model,
    lease,
    release,
    repair,
    republish,
)
from streamsvd.store.writing.separation import check_apart, mask_places
from streamsvd.typing import Matrix, Real


class Model(RowMethods, ExportMethods):
    """A factorisation on disk that absorbs new rows (or columns), exactly once each.

    Open one with `Model.open`, begin one with `Model.create`. A folder that `svd` or `pca` wrote is a model
    too: its first update extends it.
    """

    def __init__(
        self, store: ModelStore, settings: ModelSettings, version: int | None = None
    ) -> None:
        self._held = LoadedVersion(store, settings)
        self._pinned = version is not None
        self._asked: dict[str, Any] = {}
        self._free_rank = (
            False  # whether it is the default, which the columns that are kept may lower
        )
        self._leased = False
        self._held.load(version)

    # Opening --------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        rank: int | None = None,
        *,
        tol: float | None = None,
        buffer: int | None = None,
        max_rank: int = 1000,
        center: bool = False,
        axis: str = "rows",
        forget: float = 1.0,
        window: int | None = None,
        robust: bool = False,
        u: bool = False,
        seed: int = 0,
        delta: float = 1e-6,
        keep: int = DEFAULT_KEEP,
        mask: Any = None,
        column_weights: Any = None,
    ) -> Model:
        """Begin a model that has seen nothing.

        Parameters
        ----------
        path
            A folder that does not exist or is empty, or the URL of an object store such as ``s3://bucket/name``.
        rank
            Triplets wanted; or ``tol`` alone, and the rank follows from it.
        tol
            Relative Frobenius error asked; beside ``rank`` it decides when a refit is advised.
        buffer
            Directions kept beyond the rank. Left out, as many as little is paid for, settled with the first block: 64, or
            twice the rank up to 100, or the rank; fewer where 64 rows of the matrix exceed 16 MiB.
        max_rank
            Most directions kept where ``tol`` decides.
        center
            Factorise the rows less their mean, which moves as rows arrive.
        axis
            Which extent grows: ``"rows"``, or ``"columns"`` where new columns arrive.
        forget
            Factor in (0, 1] by which all rows fade with every block that follows.
        window
            Keep only the newest blocks that together hold at least this many rows. A block that leaves is
            taken out by merging again what remains; nothing is subtracted.
        robust
            Frequent Directions: no order of rows hides a direction; values are biased low within their bounds.
        u
            Keep the left vectors of every block.
        seed, delta
            Of the probes, and their probability of failure in all.
        keep
            Versions kept for readers and `rollback`, at least 2.
        mask
            Columns to keep of every block, as in `svd`: booleans; or the name of an array beside the first block, or ``"auto"``,
            all columns that have a value in it. What the others hold is never looked at.
        column_weights
            By what the columns of every block are multiplied, as in `svd`: numbers, ``"coslat"``, a name, or by dimension; what is
            no number is looked up beside the first block. The model is of the weighted rows, and remembers the weights. What a
            column of weight 0 holds is never looked at.

        Raises
        ------
        SpecError, StoreError
            If an option is out of range, or there is something at the path.
        ShapeError
            If the rank exceeds the columns that the mask keeps.
        """
        settings = new_settings(
            keep=keep,
            mask=mask,
            column_weights=column_weights,
            rank=rank,
            tol=tol,
            buffer=buffer,
            max_rank=max_rank,
            center=center,
            axis=axis,
            forget=forget,
            window=window,
            robust=robust,
            u=u,
            seed=seed,
            delta=delta,
        )
        if not is_url(path):
            place = local_path(path)
            if not is_vacant(place):
                if (place / "model.json").exists():
                    raise StoreError(
                        f"{place} is a model already. Open it, or choose another place."
                    )
                raise StoreError(f"{place} exists and is no empty folder. Choose another place.")
        store = ModelStore(objects_at(path))
        store.create(settings)
        return cls(store, settings)

    @classmethod
    def open(cls, path: str | os.PathLike[str], version: int | None = None) -> Model:
        """A model as of its newest version, or of an earlier one, which cannot be updated.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or it is of a newer format; it names the object.
        """
        store = ModelStore(objects_at(path))
        try:
            settings = store.settings()
        except StoreError:
            if is_url(path) or not is_result(local_path(path)):
                raise
            settings = settings_of_result(local_path(path))
        return cls(store, settings, version)

    def refresh(self) -> Model:
        """The newest version, if another writer has committed one."""
        if not self._pinned:
            self._held.refresh()
        return self

    # What is known --------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Number of this version; 0 before the first update."""
        return self._held.version

    @property
    def kept_from(self) -> int:
        """The earliest version that `rollback` can go to; 0 before the first update."""
        return self._held.manifest.floor if self._held.manifest else 0

    @property
    def spec(self) -> ModelSpec:
        """The options that the model was made with."""
        return self._held.spec

    @property
    def n_rows(self) -> int:
        """Rows (or columns) that were ever absorbed, also those that a window has let go."""
        return self._held.n_rows

    @property
    def n_rows_held(self) -> int:
        """Rows (or columns) that the factors are of: of a window its own, else all that were ever absorbed."""
        return self._held.state.factor.n_rows if self._held.state else 0

    def _known_state(self) -> ModelState:
        if self._held.state is None:
            raise StoreError(f"{self._held.store.name} has absorbed nothing yet. Run update first.")
        return self._held.state

    @property
    def _result(self) -> IncrementalResult:
        return method_of(self.spec).finalize(self._known_state().factor)

    @property
    def s(self) -> Real:
        """Singular values of the rank asked for, descending."""
        return self._result.s

    @property
    def Vh(self) -> Matrix:
        """Right singular vectors ``(k, n)``; where columns grow, those of the columns, composed on read."""
        if self.spec.axis == "rows":
            return self._spread(self._result.Vh)
        return np.asarray(self._left()).conj().T

    @property
    def U(self) -> Any:
        """Left singular vectors ``(m, k)``, lazily; None unless the model was created with ``u=True``."""
        if self.spec.axis == "columns":
            return self._result.Vh.conj().T
        return self._left() if self.spec.u else None

    def _left(self) -> LeftVectors:
        if not self.spec.u:
            raise SpecError(
                "the vectors of what arrives are not kept. Create the model with u=True."
            )
        state, store = self._known_state(), self._held.store

        if self._pinned and not self._leased:  # no other version can be collected while it is read
            with contextlib.suppress(StoreError):  # where we may not write, nobody waits for us
                lease(store, self.version)
            self._leased = True
        base = read_lazy_array(Path(store.name), "U") if self._held.settings.base else None
        rank = int(self._result.s.size)
        return LeftVectors(
            tuple(self._held.blocks),
            self._block_array,
            base,
            rank,
            self.spec.forget,
            state.factor.Vh.dtype,
        )

    def _block_array(self, block: BlockEntry, name: str) -> Matrix | None:
        """What a block added to the left vectors, by its name; None where it added nothing of the kind."""
        folder = f"{block.folder}/{name}-{block.step}"
        if not any(key.startswith(folder + "/") for key in block.files):
            return None
        return self._held.store.array(folder, block.files)

    @property
    def mean(self) -> Matrix | None:
        """Mean of the rows, in the units of the data; None without centring."""
        mean = self._known_state().raw_mean
        return None if mean is None else self._spread(mean)

    def _spread(self, values: Matrix) -> Matrix:
        """What belongs to the columns that are kept, among all: NaN at those that are left out."""
        columns = self.columns
        return values if columns is None else np.asarray(columns.spread(values))

    @property
    def columns(self) -> Columns | None:
        """Which columns of the blocks are kept; None for all."""
        return None if self._held.state is None else self._held.state.columns

    @property
    def dropped_columns(self) -> tuple[int, ...]:
        """Columns that are left out: without any value in the first block, or by the mask; NaN in `Vh` and `mean`."""
        return () if self.columns is None else self.columns.dropped_indices

    @property
    def column_factors(self) -> Real | None:
        """By what columns are multiplied in all, by weights and by the scale of the result that the model extends."""
        return self._spread_factors(self._known_state().column_factors)

    @property
    def column_weights(self) -> Real | None:
        """By what columns are multiplied, ``(n,)``, 0 where one is left out; None for ones."""
        return self._spread_factors(self._known_state().weights)

    def _spread_factors(self, factors: Real | None) -> Real | None:
        if factors is None or self.columns is None:
            return factors
        return np.asarray(self.columns.spread(factors, 0.0))

    @property
    def certificate(self) -> Certificate:
        """What is proved of ``s`` and ``Vh``, and of the error."""
        return self._result.certificate

    @property
    def ledger(self) -> Ledger:
        """Energy seen and energy lost."""
        return self._known_state().factor.ledger

    @property
    def optimal_error_lower(self) -> float:
        """No factorisation of this rank has a smaller Frobenius error than this."""
        return self._result.optimal_error_lower

    @property
    def summary(self) -> VersionSummary:
        """What the log says of this version."""
        if self._held.manifest is None:
            raise StoreError(f"{self._held.store.name} has absorbed nothing yet. Run update first.")
        return self._held.manifest.summary

    @property
    def versions(self) -> list[LogEntry]:
        """The log: every version ever committed, oldest first."""
        return [self._held.store.entry(v) for v in self._held.store.log_versions()]

    @property
    def blocks(self) -> list[BlockEntry]:
        """Every block absorbed, in order."""
        return list(self._held.blocks)

    @property
    def advice(self) -> str:
        """Whether the model should be made again from the data, in one sentence; empty if not."""
        if self._held.state is None:
            return ""
        return advice(self.spec, self._result)

    @property
    def labels(self) -> Labels:
        """What blocks said of their rows and columns: of rows where their left vectors are kept."""
        state = self._known_state()
        if not state.labels.columns:
            return Labels.plain((self.n_rows_held, self.Vh.shape[1]))
        name = state.labels.rows[0].name if state.labels.rows else ROW
        plain = Dimension(name, self.n_rows_held)
        blocks = self._held.blocks
        if not self.spec.u or self.spec.window is not None or len(blocks) > MOST_BLOCKS:
            return state.labels.with_rows((plain,))
        parts = [*self._base_labels()]
        for block in blocks:
            found = self._block_array(block, "labels")
            alone = Labels(rows=(Dimension(name, block.stop - block.start),))
            parts.append(alone if found is None else unpack_labels(found))
        along, coordinates = join_rows(parts)
        return state.labels.with_rows((along,), coordinates)

    @property
    def row_steps(self) -> tuple[RowStepRecord, ...]:
        """What was done to the rows of the first block before, with what was counted: blocks that come later go through the same."""
        return () if self._held.state is None else self._held.state.row_steps

    def _base_labels(self) -> list[Labels]:
        """Those of the rows of a batch result that the model extends."""
        if not self._held.settings.base:
            return []
        labels = read_result(Path(self._held.store.name), "svd", "pca").labels
        return [Labels(rows=labels.rows, coordinates=labels.row_coordinates)]

    def _factors(self) -> SVD:
        return self.as_svd()

    def as_svd(self) -> SVD:
        """The factors as `svd` returns them."""
        found, state = self._result, self._known_state()
        scale = (
            None
            if state.scale is None
            else np.divide(1.0, state.scale, out=np.zeros_like(state.scale), where=state.scale > 0)
        )
        status = Status.CONVERGED if found.tolerance_met else Status.NOT_CONVERGED
        n_rows = state.factor.n_rows
        info = Info(
            status=status,
            passes=1.0,
            bytes_read=0,
            peak_bytes=0,
            projected_bytes=0,
            elapsed_s=0.0,
            n_rows=n_rows,
            seed=self.spec.seed,
            route="incremental",
            axis=self.spec.axis,
            dropped_columns=self.dropped_columns,
            widths=(found.certificate.relative_width,),
            freedom=degrees_of_freedom(n_rows, None),
        )
        options: dict[str, Any] = {"center": self.spec.center}
        if self.columns is not None:
            options["columns"] = self.columns.marks
        if self.column_weights is not None:
            options["column_weights"] = self.column_weights
        U = self.U if self.spec.axis == "columns" or self.spec.u else None
        if isinstance(U, LeftVectors) and self.spec.forget != 1:
            options["row_weights"] = U.fades**2
        return SVD(
            found.s,
            self.Vh,
            U,
            self.mean,
            None if scale is None else self._spread(scale),
            found.certificate,
            info,
            None,
            options,
            self.labels if self.spec.axis == "rows" else Labels.plain((n_rows, self.Vh.shape[1])),
            row_steps=state.row_steps,
        )

    def __repr__(self) -> str:
        if self._held.state is None:
            return f"<Model {self._held.store.name}: nothing absorbed yet>"
        found = self._result
        rows = f"{self.n_rows_held:,} {self.spec.axis}"
        if self.spec.window is not None:
            rows += f" held, {self.n_rows:,} absorbed"
        return (
            f"<Model {self._held.store.name} version {self.version}: rank {found.s.size} of {rows}, "
            f"error <= {found.certificate.frobenius_error:.3g}>"
        )

    # Absorbing ------------------------------------------------------------------------------------------

    def update(
        self,
        block: Any,
        block_id: str | None = None,
        *,
        memory: int | float | str | None = None,
        nonfinite: str = "raise",
        mask: Any = None,
        column_names: Sequence[Any] | None = None,
        column_weights: Any = None,
        callback: Callback = ignore_event,
    ) -> UpdateReport:
        """Absorb a block of new rows (or columns), once.

        Parameters
        ----------
        block
            An array ``(b, n)`` of new rows, of numpy or dask; or a stored matrix that grows, of which the rows beyond those
            absorbed are taken; or, with ``block_id``, a stored matrix that is the block.
        block_id
            Name of the block: it enters the model once, however often it is sent.
        memory
            Bytes that absorbing may use; half of what is free if left out. Larger blocks go in pieces.
        nonfinite
            What a NaN means: ``"raise"``; ``"zero"``; ``"mean"`` of its column in the model as it is when the piece with the
            NaN comes, which needs ``center=True``; ``"skip_block"``, nothing of the block is absorbed, which of an array that
            grows is all that is new, so that it waits until the data are mended. Inf is always an error. But for ``"raise"``,
            columns that have no value in the first block are left out of the model, and must have none later.
        mask
            Columns to keep, with the first block, as in `svd`, unless the model was created with a mask; what the others hold
            is never looked at. Later blocks need no mask: the model remembers.
        column_names
            Names of the columns: later blocks must have the same in the same order.
        column_weights
            By what columns are multiplied, with the first block, as in `Model.create`. Later blocks need none: the model
            remembers, and refuses others.
        callback
            Receives events: of the pass over what is new, a span for each piece, and for every version committed. What it
            raises ends the update: what was committed stays, of the rest nothing is left behind.

        Returns
        -------
        update
            What was absorbed. When it returns, that survives a power cut.

        Raises
        ------
        ShapeError, SpecError
            If the block does not agree with the model, or its id is known with other content.
        NonFiniteError
            If it holds NaN or Inf; the model is what it was.
        StoreError, ConflictError
            If the store cannot be written, or other writers were always first.

        Notes
        -----
        Cost: one read of the new rows; see `IncrementalSVD`.
        """
        return self._absorb(
            block,
            as_source(block),
            block_id,
            memory=memory,
            nonfinite=nonfinite,
            mask=mask,
            column_names=column_names,
            column_weights=column_weights,
            callback=callback,
        )

    def _absorb(
        self,
        block: Any,
        source: Source,
        block_id: str | None,
        *,
        mask: Any,
        callback: Callback,
        **asked: Any,
    ) -> UpdateReport:
        """The same of a block that was opened."""
        request = self._request(block, source, block_id, mask=mask, **asked)
        beside = (mask_places(source, each) for each in (mask, request.column_weights))
        check_apart(self._held.store.objects, source, *beside, name="the model ")
        self._settle_weights(source, request.column_weights)
        return Absorption(self._held, request, callback).run()

    def _request(
        self,
        block: Any,
        source: Source,
        block_id: str | None,
        *,
        memory: int | float | str | None,
        nonfinite: str,
        mask: Any,
        column_names: Sequence[Any] | None,
        column_weights: Any,
    ) -> UpdateRequest:
        """What a call of `update` asks, checked as far as it can be by itself.

        Raises
        ------
        SpecError
            If this is an earlier version, or the name of the block is none.
        """
        if self._pinned:
            raise SpecError(
                f"version {self.version} was opened by number and stays as it is. Open the newest."
            )
        return UpdateRequest(
            source,
            block_id is None and not _is_array(block, source),
            UpdateOptions(block_id=block_id, nonfinite=current_spelling(nonfinite)),
            mask,
            column_names,
            allowed_bytes(memory),
            self._asked,
            self._free_rank,
            column_weights,
        )

    def _settle_weights(self, source: Source, weights: Any) -> None:
        """Keep weights that come with the first block in the settings, so that releases without them refuse the model."""
        held = self._held
        if weights is None or held.version or held.settings.base or held.settings.column_weights:
            return
        stored = stored_weights(weights, held.spec)
        first_weights(source, stored, None)  # what cannot be is not kept
        held.settings = msgspec.structs.replace(held.settings, column_weights=stored)
        held.store.resettle(held.settings)

    def _agree(self, options: dict[str, Any], *, dry: bool = False) -> None:
        """Options of a call must be the model's; those of a model that has absorbed nothing may change.

        Dry, nothing is written.
        """
        held = self._held
        if held.version == 0 and not held.settings.base and options:
            asked = dict(options)
            keep = asked.pop("keep", held.settings.keep)
            spec = change_spec(held.settings.spec, asked)
            if (spec, keep) != (held.settings.spec, held.settings.keep):
                held.settings = msgspec.structs.replace(held.settings, spec=spec, keep=keep)
                if not dry:
                    held.store.resettle(held.settings)
        self._asked = options  # what an update that finds other writers' work holds it against

    # Mending --------------------------------------------------------------------------------------------

    def verify(self) -> list[Damage]:
        """Every stored object that is not what was written."""
        return check_store(self._held.store)[0]

    def rollback(self, version: int) -> Model:
        """Make an earlier version the newest one; blocks absorbed since then are unknown again.

        Raises
        ------
        StoreError
            If that version was collected or is damaged.
        """
        newest = self._held.store.newest()
        if newest == 0:
            raise StoreError(f"{self._held.store.name} has no version yet: nothing was absorbed.")
        if not 1 <= version <= newest:
            raise StoreError(f"{self._held.store.name} has versions 1 to {newest}, not {version}.")
        held = lease(self._held.store, version)
        try:
            manifest = self._held.earlier(version, newest)
            load_state(self._held.store, manifest)
            floor = self._held.store.manifest(newest).floor
            manifest = msgspec.structs.replace(manifest, floor=max(manifest.floor, floor))
            republish(self._held.store, manifest, newest, "rollback")
        finally:
            release(self._held.store, held)
        self._held.load()
        return self

    def collect(self) -> int:
        """Remove what no kept version needs; returns how many objects went. Updates do it now and then."""
        return collect(self._held.store)


def repair_model(path: str | os.PathLike[str]) -> tuple[Model, list[Damage]]:
    """Drop to the newest version that is whole; returns it and what was damaged.

    Raises
    ------
    StoreError
        If none is whole.
    """
    store = ModelStore(objects_at(path))
    if not is_model(store.objects) and not store.objects.names("log"):
        return Model.open(path), []  # a result that nothing was added to
    _, damage = repair(store)
    return Model.open(path), damage


def advice(spec: ModelSpec, found: IncrementalResult) -> str:
    """When the model no longer is what was asked for, what to do."""
    c = found.certificate
    if c.energy <= 0 or found.tolerance_met or spec.tol is None:
        return ""
    error = c.frobenius_error / np.sqrt(c.energy)
    lower = found.optimal_error_lower / np.sqrt(c.energy)
    if lower > spec.tol:
        return (
            f"the error {error:.3g} exceeds tol={spec.tol:g}, and no factorisation of this rank is better than "
            f"{lower:.3g}: make the model again with a larger rank."
        )
    return f"the error {error:.3g} exceeds tol={spec.tol:g}: make the model again from the data with svd."


def _is_array(block: Any, source: Source) -> bool:
    """Whether a block is in memory or lazily computed, rather than stored somewhere that may grow."""
    return isinstance(block, np.ndarray) or isinstance(source, ArraySource | DaskSource)
