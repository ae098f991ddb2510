"""Z2: from raw counts to components of cells: CPU seconds and memory against scanpy, which holds all of them in memory.

``python -m benchmarks.cells WAY PATH`` runs one of `WAYS` in this process, and prints one line of JSON: its CPU seconds, peak memory and
variances. ``ours`` begins with the file; ``scanpy`` too, whose steps run one after another; ``scanpy-pca`` counts its components alone, of a matrix
that is normalised and in memory already. One thread each. ``floor`` is what no way can do without: each entry read and decoded four
times, the products of the genes that are kept once (`dsyrk`), their scores once (`dgemm`).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import sparse

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, interleaved
from benchmarks.peers import cpu_s, measured
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine.blas import one_thread
from streamsvd.engine.events import PassDone
from streamsvd.engine.schedulers import use_scheduler

EXTENTS: dict[Size, tuple[int, int]] = {"small": (1_000, 600), "full": (20_000, 5_000)}
GENES: dict[Size, int] = {"small": 200, "full": 2_000}
RANK, MEMORY = 50, "1GiB"
CPU_RATIO = 1.0
"""CPU seconds of those of scanpy, at most: components from counts on disk, beside its own of a matrix that is normalised and in memory."""
DIFFERENCE = 1e-5
"""Largest relative difference of a variance from scanpy's, which computes in single precision."""
GROUPS = 15
ROWS = 500
"""Cells that are made at a time."""


def make(size: Size, folder: Path | None = None) -> Path:
    """Counts as AnnData writes them to zarr; made once."""
    m, n = EXTENTS[size]
    place = (folder or data.cache_folder()) / f"cells-{m}-{n}.zarr"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    usual = rng.lognormal(-2.2, 1.3, n)
    programs = 1 + rng.lognormal(0, 0.6, (GROUPS, n)) * (rng.random((GROUPS, n)) < 0.2)
    rows = []
    for _ in range(0, m, ROWS):
        kind = rng.integers(GROUPS, size=ROWS)
        rates = usual * programs[kind] * rng.lognormal(0, 0.4, (ROWS, 1))
        rows.append(sparse.csr_array(rng.poisson(rng.gamma(2.0, rates / 2)).astype(np.float32)))
    X = sparse.vstack(rows).tocsr()
    partial = place.with_name(f"{place.name}.partial")
    group = zarr.open_group(partial, mode="w")
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    part = group.create_group("X")
    part.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [m, n]})
    for name in ("data", "indices", "indptr"):
        values = getattr(X, name)
        part.create_array(name, data=values, chunks=(max(1, min(values.size, X.nnz // 16)),))
    partial.rename(place)
    return place


def stored(path: Path) -> Any:
    """The counts in memory."""
    part = zarr.open_group(path, mode="r")["X"]
    arrays = tuple(part[name][...] for name in ("data", "indices", "indptr"))
    return sparse.csr_matrix(arrays, shape=tuple(part.attrs["shape"]))


def size_of(path: Path) -> Size:
    """Which of the sizes it is."""
    return next(size for size in EXTENTS if f"-{EXTENTS[size][0]}-" in path.name)


def ours(path: Path) -> dict[str, Any]:
    """The whole job by `streamsvd.cells`, from the file."""
    done: list[float] = []

    def watch(event: Any) -> None:
        if isinstance(event, PassDone):
            done.append(cpu_s())

    found, cost = measured(
        lambda: streamsvd.cells(path, GENES[size_of(path)], RANK, memory=MEMORY, callback=watch)
    )
    i, counted = found.info, done[found.options.count_passes - 1]
    return cost | {
        "components_cpu_s": cpu_s() - counted,
        "variance": found.explained_variance.tolist(), "width": float(found.certificate.relative_width), "passes": i.passes,
        "projected_bytes": i.projected_bytes, "genes": np.flatnonzero(found.genes.highly_variable).tolist(),
    }  # fmt: skip


def scanpy(path: Path) -> dict[str, Any]:
    """The same by scanpy, from the file, all of it in memory."""
    prepare, components = _of_scanpy(path)
    done, cost = measured(lambda: components(prepare()))
    return cost | _variances(done)


def scanpy_pca(path: Path) -> dict[str, Any]:
    """Its components alone."""
    prepare, components = _of_scanpy(path)
    ready = prepare()
    done, cost = measured(lambda: components(ready))
    return cost | _variances(done)


def _variances(adata: Any) -> dict[str, Any]:
    return {
        "variance": np.asarray(adata.uns["pca"]["variance"]).tolist(),
        "genes": np.flatnonzero(adata.var["highly_variable"]).tolist(),
    }


def _of_scanpy(path: Path) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Its steps, once what it compiles is compiled."""
    warnings.simplefilter("ignore")
    import anndata
    import scanpy as sc

    genes = GENES[size_of(path)]

    def prepare_of(X: Any, genes: int) -> Any:
        adata = anndata.AnnData(X)
        sc.pp.calculate_qc_metrics(adata, percent_top=None, log1p=False, inplace=True)
        sc.pp.highly_variable_genes(adata, n_top_genes=genes, flavor="seurat_v3")
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        return adata

    def components(adata: Any) -> Any:
        rank = min(RANK, adata.var["highly_variable"].sum() - 1)
        sc.pp.pca(adata, n_comps=int(rank), mask_var="highly_variable", svd_solver="arpack")
        return adata

    first = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (200, 100)).astype(np.float32))
    components(prepare_of(first, 80))
    return lambda: prepare_of(stored(path), genes), components


def floor(path: Path) -> dict[str, Any]:
    """Each entry read four times, and the dense products of the genes that are kept."""
    from scipy.linalg import blas

    m, genes = EXTENTS[size_of(path)][0], GENES[size_of(path)]
    source: Any = streamsvd.open(path)
    block = np.asfortranarray(np.random.default_rng(0).standard_normal((genes, 1000)))
    thin = np.asfortranarray(block[:, :RANK])

    def least() -> None:
        for _ in range(4):
            for a in range(0, m, 1000):
                source.read_sparse(slice(a, min(a + 1000, m)))
        for _ in range(0, m, 1000):
            blas.dsyrk(1.0, block)
            blas.dgemm(1.0, block, thin, trans_a=True)

    return measured(least)[1]


WAYS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "ours": ours,
    "scanpy": scanpy,
    "scanpy-pca": scanpy_pca,
    "floor": floor,
}


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Z2 as measured on this machine."""
    path = make(size)
    there = find_spec("scanpy") is not None and find_spec("skmisc") is not None
    ways = list(WAYS) if there else ["ours", "floor"]
    found = interleaved({way: ("benchmarks.cells", way, path) for way in ways}, rounds)
    mine, least = found["ours"], found["floor"]
    what = f"{EXTENTS[size][0]:,} cells, {EXTENTS[size][1]:,} genes, {GENES[size]:,} kept"
    times = mine["cpu_s"] / least["cpu_s"]
    rows = [
        Row(
            f"{what}: CPU", "beside the floor: reading four times, and the products",
            f"{mine['cpu_s']:.2f} s, floor {least['cpu_s']:.2f} s: {times:.2f}", "not judged",
        ),
        Row(
            f"{what}: memory", "measured <= projected",
            f"{mine['peak_rss_bytes'] / 2**20:.0f} of {mine['projected_bytes'] / 2**20:.0f} MiB",
            judged(mine["peak_rss_bytes"] <= mine["projected_bytes"]),
        ),
    ]  # fmt: skip
    if there:
        rows += _against_scanpy(size, what, found)
    notes = [
        "one thread each; ours reads the file, scanpy-pca begins with the matrix in memory, normalised"
    ]
    return Table("Z2", "what do components of cells cost, from raw counts on?", rows, notes, found)


def _against_scanpy(size: Size, what: str, found: dict[str, Figures]) -> list[Row]:
    mine, whole, alone = found["ours"], found["scanpy"], found["scanpy-pca"]
    part, all_ = mine["components_cpu_s"] / alone["cpu_s"], mine["cpu_s"] / whole["cpu_s"]
    differences = np.abs(np.divide(mine["variance"], alone["variance"]) - 1)
    same = mine["genes"] == alone["genes"]
    return [
        Row(
            f"{what}: components",
            f"CPU of components and scores, from counts on disk, at most {CPU_RATIO:g} of scanpy's from memory",
            f"{mine['components_cpu_s']:.2f} s, scanpy {alone['cpu_s']:.2f} s: {part:.2f}",
            judged(part <= CPU_RATIO, size=size),
        ),
        Row(
            f"{what}: all",
            f"CPU of all at most {CPU_RATIO:g} of all steps of scanpy",
            f"{mine['cpu_s']:.2f} s, scanpy {whole['cpu_s']:.2f} s: {all_:.2f}",
            judged(all_ <= CPU_RATIO, size=size),
        ),
        Row(
            f"{what}: agreement", f"the same genes, variances to {DIFFERENCE:g}",
            f"{'the same' if same else 'other genes'}, {differences.max():.1e}; ours proved to {mine['width']:.1e}",
            judged(same and bool(differences.max() <= DIFFERENCE)),
        ),
        Row(
            f"{what}: memory against scanpy", "-",
            f"{mine['peak_rss_bytes'] / 2**20:.0f} MiB, scanpy {whole['peak_rss_bytes'] / 2**20:.0f} MiB", "not judged",
        ),
    ]  # fmt: skip


class Cells:
    """Seconds of the whole job, by asv."""

    def setup(self) -> None:
        self.path = make("small")

    def time_ours(self) -> None:
        streamsvd.cells(self.path, GENES["small"], RANK, flavor="seurat", memory=MEMORY)


def main(arguments: list[str] | None = None) -> None:
    """One way, in this process."""
    parser = argparse.ArgumentParser("python -m benchmarks.cells", description=main.__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("path", type=Path)
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    with one_thread(), use_scheduler(None, 1):
        figures = WAYS[given.way](given.path)
    print(json.dumps(figures | {"all_s": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
