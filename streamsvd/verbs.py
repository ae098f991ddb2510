"""Every verb that reads a matrix: where it is, what it may be asked, and what says its cost before anything is read.

The one list from which `plan`, the contract tests and the table of capabilities are made. Nothing of a family is imported
before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from operator import attrgetter
from typing import Any

from streamsvd.errors import SpecError


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, by the addresses of its parts, ``module:name``.

    Attributes
    ----------
    name, family
        As users call it, and the folder it lives in.
    command
        As the command line calls it, words apart; empty where it has none.
    function, plan, options
        What does it, what says its cost, and the record of what it may be asked; empty where there is none.
    """

    name: str
    family: str
    command: str
    function: str
    plan: str
    options: str

    def resolve(self, part: str) -> Any:
        """The function, plan or options record itself."""
        module, _, name = getattr(self, part).partition(":")
        return attrgetter(name)(import_module(module))


def _verb(name: str, family: str, module: str, record: str, command: str) -> Verb:
    home = f"streamsvd.{family}"
    return Verb(
        name, family, command, f"{home}.{module}:{name}", f"{home}.{module}:plan_{name}", f"{home}.options:{record}"
    )  # fmt: skip


VERBS = {
    verb.name: verb
    for verb in (
        _verb("svd", "factor", "svd", "SVDOptions", "svd"),
        _verb("pca", "factor", "pca", "SVDOptions", "pca"),
        _verb("update", "models", "verb", "UpdateOptions", "update"),
        _verb("verify", "models", "verify", "VerifyOptions", "verify"),
        _verb("top_eigenvectors", "streams", "verb", "TopEigenvectorsOptions", "top"),
        _verb("shuffle", "streams", "shuffle", "ShuffleOptions", "shuffle"),
        _verb("cells", "single_cell", "verb", "CellsOptions", "cells"),
        _verb("convert", "conversion", "convert", "ConvertOptions", "convert"),
        _verb("nystrom", "kernels", "nystrom", "NystromOptions", "nystrom"),
        _verb("kernel_ridge", "kernels", "ridge", "KernelRidgeOptions", "krr fit"),
        _verb("sample_rows", "rows", "sample_rows", "SampleOptions", "sample"),
        _verb("lstsq", "rows", "lstsq", "LeastSquaresOptions", "lstsq"),
        _verb("embed", "graphs", "verb", "EmbedOptions", "embed"),
        _verb("cluster", "collections", "cluster", "ClusterOptions", "cluster"),
        _verb("compress", "collections", "compression", "CompressionOptions", "compress"),
        _verb("rate_curve", "collections", "rates", "RateOptions", "rates"),
        _verb("second_moment_factor", "collections", "inputs", "SecondMomentOptions", ""),
    )
}


RESULT_VERBS = {
    verb.name: verb
    for verb in (
        Verb("project", "factor", "project", "streamsvd.factor.row_methods:RowMethods.transform", "", ""),
        Verb("reconstruct", "factor", "reconstruct", "streamsvd.factor.row_methods:RowMethods.reconstruct", "", ""),
        Verb("predict", "kernels", "krr predict", "streamsvd.kernels.ridge:KernelRidgeResult.predict_to", "", ""),
        Verb("decompress", "collections", "decompress", "streamsvd.collections.decompression:decompress", "", ""),
    )
}  # fmt: skip
"""Verbs of what was made before: they write as much as they read, in one pass, and have no plan and no record of their own."""

COSTLESS = ("callback", "delta", "out", "overwrite", "replay", "save_seconds", "seed")
"""Options that may be passed to every plan, because nothing of the cost depends on them."""
MACHINES = (
    "workers", "threads", "worker_memory", "bandwidth", "source_bandwidth", "price_per_hour", "thread_rate",
)  # fmt: skip
"""Options of every plan that say what cluster it is for."""


def plan(verb: str, *inputs: Any, **options: Any) -> Any:
    """What a verb will read and need, from shapes alone: passes, bytes and memory.

    Parameters
    ----------
    verb
        Its name, such as ``"svd"`` or ``"lstsq"``.
    *inputs, **options
        As the verb takes them: the matrix first, but for `update` and `verify`, which take the model or the result before it.
        What the cost does not depend on, such as ``callback`` and ``seed``, may be among them. For a cluster that is not there:
        ``workers`` and ``threads`` of each, ``worker_memory``, ``bandwidth`` of each link, such as ``"10Gbit/s"``,
        ``source_bandwidth`` of the store, such as ``"20GB/s"``, ``thread_rate``, decoded bytes that a thread reads and
        multiplies, and ``price_per_hour`` of a worker. Under an active client the first three are those of its cluster.

    Returns
    -------
    plan
        A `RunPlan`, or of `svd` and `pca` a `Plan`, which can be run; ``print(plan.explain())`` says it in words. Planned for
        a cluster it has ``cluster``: tasks, bytes over the network, seconds, and the workers beyond which more do not help.

    Raises
    ------
    SpecError
        If there is no such verb, an input is left out, or an option cannot be meant.
    BudgetError
        If the memory, or that of a worker, does not do; it names the smallest that works.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> A = np.ones((4000, 6))
    >>> streamsvd.plan("sample_rows", A, 400).passes
    2
    >>> streamsvd.plan("svd", A, 3, workers=100, threads=4).cluster.tasks
    1
    """
    if verb not in VERBS:
        raise SpecError(f"verb={verb!r} is unknown. Pass one of {', '.join(VERBS)}.")
    from streamsvd.engine.machines import MachineOptions, planning_for

    resolved, machines = VERBS[verb], {n: options.pop(n) for n in MACHINES if n in options}
    planned, taken = (signature(resolved.resolve(p)).parameters for p in ("plan", "function"))
    for name in [name for name in options if name in taken and name not in planned]:
        if name not in COSTLESS:
            raise SpecError(
                f"{name}={options[name]!r} was passed, but there is no plan of {verb} with it. Leave it out."
            )
        del options[name]
    _check_inputs(verb, planned, inputs, options)
    with planning_for(MachineOptions(**machines)):
        return resolved.resolve("plan")(*inputs, **options)


def _check_inputs(
    verb: str,
    planned: Mapping[str, Parameter],
    inputs: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    """Refuse a plan without an input that it cannot do without.

    Raises
    ------
    SpecError
        It names those that are left out, and says how they are passed.
    """
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    needed = [p.name for p in planned.values() if p.default is p.empty and p.kind not in variable]
    lacking = [name for name in needed[len(inputs) :] if name not in options]
    if lacking:
        raise SpecError(
            f"a plan of {verb} needs {' and '.join(needed)}, and {' and '.join(lacking)} {'was' if len(lacking) == 1 else 'were'} not "
            f'passed. Pass streamsvd.plan("{verb}", {", ".join(needed)}).'
        )
