"""What the verbs of kernels save as ``.npz`` files, and how it is read again: such a file may be damaged, or anything else."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl, local_path
from streamsvd.errors import SpecError, StoreError
from streamsvd.info import Info, Status
from streamsvd.kernels.mathematics import Dictionary, DictionaryOptions, FeatureMap, Kernel
from streamsvd.kernels.options import KernelRidgeOptions, NystromOptions
from streamsvd.kernels.records import NystromCertificate
from streamsvd.numerics.columns import Columns
from streamsvd.options import from_plain
from streamsvd.store.explanations import path_exists, raise_access_error

if TYPE_CHECKING:
    from streamsvd.kernels.nystrom import NystromResult
    from streamsvd.kernels.ridge import KernelRidgeResult

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
FORMAT = 1
SAMPLING = ("gamma", "budget", "mode", "oversampling", "least", "seed")
"""What of a `DictionaryOptions` tells one sampling from another, beside the kernel."""
STATE = ("gamma", "multiplier", "n_rows", "trace", "dimension")
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, IndexError, zipfile.BadZipFile, msgspec.MsgspecError,
)  # fmt: skip
"""What reading a file that is none of ours may raise."""


def read_folder(place: PathOrUrl, kind: str) -> Any:
    """The result that was saved there; None where no folder of a result is.

    Raises
    ------
    StoreError
        If it is damaged, of another kind, or of a newer release.
    """
    from streamsvd.store.places import location_of
    from streamsvd.store.results.reader import METADATA, read_result  # imports zarr

    return read_result(place, kind) if location_of(place / METADATA).is_present() else None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"chosen_options": "chosen"}):
    """How a result came about, as files have it since the first release.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes, seed, warnings, dropped_columns
        As of `streamsvd.info.Info`.
    chosen_options
        Which options were chosen on the data; under the name ``chosen``.
    """

    n_rows: int
    passes: float
    bytes_read: int
    elapsed_s: float
    peak_bytes: int
    projected_bytes: int
    seed: int
    warnings: tuple[str, ...]
    chosen_options: tuple[str, ...]
    dropped_columns: tuple[int, ...] = ()
    missing: int = 0

    def info(self, status: Status) -> Info:
        """The record of a run that ended so."""
        return Info(status=status, **{name: getattr(self, name) for name in shared_fields()})


class DictionaryRecord(RunRecord, frozen=True, kw_only=True):
    """The same of a dictionary, with the centres asked for, the kernel, and the oversampling that the budget left."""

    n_centres: int
    kernel: dict[str, Any]
    oversampling: float


class RidgeRecord(RunRecord, frozen=True, kw_only=True):
    """The same of a regression, with the solver taken, the rows held out, ``trace(K - K_C)`` and residuals."""

    solver: Literal["direct", "onepass", "pcg"]
    held_out: int
    trace_error: float
    residuals: tuple[float, ...]


def shared_fields() -> list[str]:
    """What a `RunRecord` has of an `Info`."""
    known = {f.name for f in fields(Info)}
    return [name for name in RunRecord.__struct_fields__ if name in known]


def run_facts(info: Info) -> dict[str, Any]:
    """The same of a result."""
    facts = {name: getattr(info, name) for name in shared_fields()}
    passes = int(info.passes) if info.passes == int(info.passes) else info.passes
    return {**facts, "passes": passes}


def dictionary_record(found: NystromResult) -> DictionaryRecord:
    """How a dictionary came about."""
    return DictionaryRecord(
        **run_facts(found.info), chosen_options=found.chosen_options, n_centres=found.options.n_centres,
        kernel=found.sampling.kernel.record, oversampling=found.oversampling,
    )  # fmt: skip


def ridge_record(fit: KernelRidgeResult) -> RidgeRecord:
    """How a regression came about."""
    assert fit.solver != "auto"
    return RidgeRecord(
        **run_facts(fit.info), chosen_options=fit.chosen_options, solver=fit.solver, held_out=fit.n_held_out,
        trace_error=fit.trace_error, residuals=fit.residuals,
    )  # fmt: skip


def dictionary_arrays(found: NystromResult) -> Arrays:
    """The arrays of a dictionary and what is known of it.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be saved.
    """
    sampling, state = found.sampling, found.dictionary
    record = {
        "spec": {name: getattr(sampling, name) for name in SAMPLING},
        "state": {name: getattr(state, name) for name in STATE},
        "certificate": asdict(found.certificate),
        "info": msgspec.to_builtins(dictionary_record(found)),
    }
    return {
        "indices": state.ids, "rows": state.rows, "weights": found.weights, "centres": found.centres,
        "chance": state.chance, "scores": state.scores, **map_arrays(found.feature_map, "centre_rows"),
        "record": record_array(record, sampling.kernel),
    }  # fmt: skip


def dictionary_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a `streamsvd.NystromResult` that was saved.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    with reading(path, "dictionary of rows") as (arrays, record):
        map_ = map_in(arrays, record, "centre_rows")
        sampling = DictionaryOptions(kernel=map_.kernel, **record["spec"])
        state = Dictionary(
            rows=arrays["rows"],
            ids=arrays["indices"],
            chance=arrays["chance"],
            scores=arrays["scores"],
            **record["state"],
        )
        check_shapes(
            (state.ids, state.chance, state.scores, state.rows), (map_.centres, map_.whitening), (state.rows.T, map_.centres.T)
        )  # fmt: skip
        proved = {  # JSON knows no infinity
            name: float("inf") if value is None else value
            for name, value in record["certificate"].items()
        }
        certificate = NystromCertificate(**proved)
        about = msgspec.convert(record["info"], DictionaryRecord)
        return {
            "sampling": sampling,
            "dictionary": state,
            "centres": arrays["centres"],
            "feature_map": map_,
            "certificate": certificate,
            "options": _options(sampling, state, about, certificate),
            "chosen_options": about.chosen_options,
            "info": about.info(Status.DONE),
        }


def _options(
    sampling: DictionaryOptions,
    state: Dictionary,
    about: DictionaryRecord,
    certificate: NystromCertificate,
) -> NystromOptions:
    """What was asked, with what was chosen, of a dictionary that was saved."""
    kernel = sampling.kernel
    return NystromOptions(
        kernel=kernel.name, n_centres=about.n_centres, length=kernel.length, degree=kernel.degree, offset=kernel.offset,
        smoothness=kernel.smoothness, scale=kernel.scale is not None, budget=sampling.budget, mode=sampling.mode,
        seed=sampling.seed, gamma=state.gamma if "gamma" in about.chosen_options else sampling.gamma,
        certify=certificate.trace_error < float("inf"),
    )  # fmt: skip


def ridge_arrays(fit: KernelRidgeResult) -> Arrays:
    """The arrays of a regression and what is known of it.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be saved.
    """
    kernel, options = fit.feature_map.kernel, fit.options
    record = {"ridge": fit.ridge, "flat": fit.flat, "info": msgspec.to_builtins(ridge_record(fit))}
    if options is not None and not callable(kernel.name):
        record["options"] = asdict(options)
    return {
        **map_arrays(fit.feature_map), "coefficients": fit.coefficients, "mean": fit.mean,
        "held_out_rmse": fit.held_out_rmse, "record": record_array(record, kernel),
    }  # fmt: skip


def ridge_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a `streamsvd.KernelRidgeResult` that was saved.

    Raises
    ------
    StoreError
        If the file is no such thing, or of a newer release.
    """
    with reading(path, "kernel ridge regression") as (arrays, record):
        map_ = map_in(arrays, record)
        beta, mean = arrays["coefficients"], arrays["mean"]
        check_shapes((map_.centres, map_.whitening), (map_.whitening.T, beta), (beta.T, mean))
        about = msgspec.convert(record["info"], RidgeRecord)
        options = record.get("options")
        options = options and from_plain(KernelRidgeOptions, options, str(path))
        status = Status.DONE
        if options and about.residuals:
            met = about.residuals[-1] <= options.tol
            status = Status.CONVERGED if met else Status.NOT_CONVERGED
        return {
            "feature_map": map_,
            "coefficients": beta,
            "mean": mean,
            "ridge": record["ridge"],
            "held_out_rmse": arrays["held_out_rmse"],
            "flat": record["flat"],
            "nystrom": None,
            "n_held_out": about.held_out,
            "trace_error": about.trace_error,
            "residuals": about.residuals,
            "solver": about.solver,
            "options": options,
            "chosen_options": about.chosen_options,
            "info": about.info(status),
        }


def map_arrays(map_: FeatureMap, centres: str = "centres") -> Arrays:
    """The arrays of a feature map and its kernel, empty where there is none; rows of its centres under this name."""
    none, kernel = np.zeros(0), map_.kernel
    return {
        centres: map_.centres,
        "whitening": map_.whitening,
        "centre": none if kernel.centre is None else kernel.centre,
        "scale": none if kernel.scale is None else kernel.scale,
        **({} if map_.columns is None else {"columns": map_.columns.marks}),
    }


def map_in(arrays: Arrays, record: dict[str, Any], centres: str = "centres") -> FeatureMap:
    """The feature map that was saved."""
    centre, scale = (a if a.size else None for a in (arrays["centre"], arrays["scale"]))
    k = record["kernel"]
    kernel = Kernel(
        k["name"], k["length"], k["degree"], k["offset"], k["smoothness"], centre, scale
    )
    marks = arrays.get("columns")
    columns = None if marks is None else Columns(marks)
    if columns is not None and columns.indices.size != arrays[centres].shape[1]:
        raise ValueError(
            f"it keeps {columns.indices.size} columns, and its centres have {arrays[centres].shape[1]}"
        )
    return FeatureMap(kernel, arrays[centres], arrays["whitening"], columns)


def record_array(record: dict[str, Any], kernel: Kernel) -> npt.NDArray[np.uint8]:
    """A record, with those of the format and of the kernel, as bytes.

    Raises
    ------
    SpecError
        If the kernel is a function, which cannot be saved.
    """
    if callable(kernel.name):
        raise SpecError(
            "a kernel that is a function cannot be saved. Use one of the named kernels."
        )
    whole = {"format": FORMAT, "kernel": kernel.record, **record}
    return np.frombuffer(msgspec.json.encode(whole), dtype=np.uint8)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[tuple[Arrays, dict[str, Any]]]:
    """The arrays of a ``.npz`` file by name, and its record; nothing in it is executed.

    Raises
    ------
    StoreError
        If the file, or what is made of it meanwhile, shows that it is no such thing, or is of a newer release.
    """
    place = local_path(path)
    if not path_exists(place):
        raise StoreError(f"{place} does not exist. Check the path.")
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        record = msgspec.json.decode(arrays["record"].tobytes())
        if record["format"] > FORMAT:
            raise StoreError(f"{place} was saved by a newer release. Upgrade streamsvd.")
        yield arrays, record
    except StoreError:
        raise
    except DAMAGE as error:
        raise_access_error(error, place)
        raise StoreError(f"{place} holds no {what}: {damage(error)}.") from error


def damage(error: BaseException) -> str:
    """What was found, in words."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    text = str(error) or type(error).__name__
    return "it is no .npz file of arrays" if "pickle" in text else text.rstrip(".")


def check_shapes(*groups: tuple[npt.NDArray[Any], ...]) -> None:
    """Refuse arrays of which those in a group do not have one length.

    Raises
    ------
    ValueError
        With the lengths.
    """
    for group in groups:
        lengths = [a.shape[0] for a in group]
        if len(set(lengths)) > 1:
            raise ValueError(f"its arrays have {lengths} rows, which should be as many")
