"""C2: the matrices of a network compressed for what they are given: errors of its answers at equal bytes.

``python -m benchmarks.run --only C2 --size full``. The encoder matrices of MiniLM-L6 as 54 blocks of 384 rows (those of 1536 are cut in
four, so that all act on their columns). Inputs are what each is given on three quarters of some paragraphs of this project's own
pages, streamed from zarr; answers are compared on the other quarter: the mean distance of embeddings, which are of norm 1,
from those of the network as it is. Bytes are those of all stored objects. Factors: shared bases, ranks of least storage; codes: residuals alone, ``principal=1``.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

import streamsvd
from benchmarks import encoder
from benchmarks.fresh import Figures
from benchmarks.tables import Row, Size, Table, judged

Array = npt.NDArray[Any]
ROOT = Path(__file__).parents[1]
FACTORS, AIMED = (0.3, 0.4, 0.5), (0.1, 0.2, 0.3)
"""Errors of factors of about equal bytes."""
CODES, CODES_AIMED = (0.05, 0.1, 0.2), (0.02, 0.05, 0.1)
MOST = 240
TRAINED = 3 / 4
"""Paragraphs, and the part of them from which inputs are taken."""
GAIN, CODES_GAIN = 1.5, 1.1
"""How much smaller a network aimed at its inputs is to be, at the same error of its answers."""


def paragraphs() -> list[str]:
    """Of the pages of this project, the order shuffled by a seed."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [p for page in pages for p in page.read_text().split("\n\n") if len(p.split()) >= 12]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))[:MOST]]


def blocks(W: Mapping[str, Array]) -> dict[str, Array]:
    """Matrices of the layers, each ``(384, columns)``."""
    out = {}
    for name, A in W.items():
        if name.startswith("encoder.") and name.endswith(".weight") and A.ndim == 2:
            for i in range(0, A.shape[0], encoder.WIDTH):
                out[f"{name}/{i // encoder.WIDTH}"] = A[i : i + encoder.WIDTH]
    return out


def rebuilt(W: Mapping[str, Array], held: Mapping[str, Array]) -> dict[str, Array]:
    """The network with matrices as they are read again."""
    parts: defaultdict[str, list[Array]] = defaultdict(list)
    for name, A in held.items():
        parts[name.rpartition("/")[0]].append(A)
    return {**W, **{name: np.concatenate(some) for name, some in parts.items()}}


def inputs(W: Mapping[str, Array], texts: list[list[int]], folder: Path) -> dict[str, str]:
    """What each matrix is given, as stored arrays, by pattern; matrices of one input share one."""
    seen: defaultdict[str, list[Array]] = defaultdict(list)
    encoder.embedded(W, texts, lambda name, X: seen[name].append(X.astype(np.float32)))
    out, places = {}, dict[int, str]()
    for name, rows in seen.items():
        same = name.replace(".key.", ".query.").replace(".value.", ".query.")
        place = places.setdefault(hash(same), str(folder / f"{len(places)}.zarr"))
        if not Path(place).exists():
            zarr.create_array(place, data=np.concatenate(rows), chunks=(1024, rows[0].shape[1]))
        out[f"{name}/*"] = place
    return out


def answered(
    W: Mapping[str, Array], held: Mapping[str, Array], texts: list[list[int]], truth: Array
) -> float:
    """Mean distance of the answers."""
    return float(np.mean(np.linalg.norm(encoder.embedded(rebuilt(W, held), texts) - truth, axis=1)))


def curve(
    W: Mapping[str, Array],
    texts: list[list[int]],
    truth: Array,
    folder: Path,
    given: dict[str, Any],
    errors: tuple[float, ...],
) -> list[Figures]:
    """Bytes and errors of the answers."""
    out: list[Figures] = []
    for error in errors:
        place = folder / "C.zarr"
        began = time.perf_counter()
        done = streamsvd.compress(blocks(W), place, error, mode="block", overwrite=True, **given)
        elapsed = time.perf_counter() - began
        held = streamsvd.open_compressed(place)
        out.append(
            {
                "error": error, "bytes": done.bytes_after, "ratio": done.compression_ratio, "seconds": elapsed,
                "bound": max(done.block_errors.values()), "answers": answered(W, held, texts, truth),
            }
        )  # fmt: skip
    return out


def gain(plain: list[Figures], aimed: list[Figures]) -> float:
    """Least ratio of bytes, plain over aimed, at equal error of the answers, over what both curves span."""
    x, y = (np.log([f["answers"] for f in some]) for some in (plain, aimed))
    p, a = (np.log([f["bytes"] for f in some]) for some in (plain, aimed))
    low, high = max(x.min(), y.min()), min(x.max(), y.max())
    at = np.linspace(low, high, 9)
    return float(np.exp(np.min(np.interp(at, x, p) - np.interp(at, y, a))))


def table(size: Size, rounds: int = 1) -> Table:
    """Codes alone, with and without inputs; at full size the answers judged at equal bytes."""
    del rounds
    if size == "small":
        return _small()
    W, known = encoder.weights(), encoder.vocabulary()
    texts = [encoder.pieces(p, known) for p in paragraphs()]
    count = int(TRAINED * len(texts))
    truth = encoder.embedded(W, texts[count:])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        given = inputs(W, texts[:count], folder)
        some = {"inputs": given, "damping": 0.01}
        codes = {"principal": 1.0}
        tests = (texts[count:], truth, folder)
        found = {
            "factors": curve(W, *tests, {}, FACTORS),
            "factors for its inputs": curve(W, *tests, some, AIMED),
            "codes": curve(W, *tests, codes, CODES),
            "codes for its inputs": curve(W, *tests, {**codes, **some}, CODES_AIMED),
        }
    rows = [
        Row(
            f"MiniLM-L6, {kind}, error {f['error']}", "every bound <= error",
            f"{f['ratio']:.2f} x, answers {f['answers']:.3f} off, {f['seconds']:.0f} s", judged(f["bound"] <= f["error"]),
        )
        for kind, curve_ in found.items()
        for f in curve_
    ]  # fmt: skip
    better = gain(found["factors"], found["factors for its inputs"])
    case = "bytes of factors at equal error of the answers"
    said = f"{better:.2f} x less at least"
    rows.append(Row(case, f">= {GAIN} x less for its inputs", said, judged(better >= GAIN)))
    other = gain(found["codes"], found["codes for its inputs"])
    case, said = case.replace("factors", "codes"), f"{other:.2f} x less at least"
    rows.append(
        Row(case, f">= {CODES_GAIN} x less for its inputs", said, judged(other >= CODES_GAIN))
    )
    samples = sum(map(len, texts[:count]))
    notes = [f"{samples:,} samples of {count} paragraphs; answers on {len(texts) - count} others."]
    return Table("C2", "a network compressed for what it is given", rows, notes, found)


def _small() -> Table:
    """One layer of a made-up network: its answers with and without its inputs."""
    rng = np.random.default_rng(0)
    W = {"w": rng.standard_normal((48, 32)).astype(np.float32)}
    X = (rng.standard_normal((400, 32)) * 0.8 ** np.arange(32)).astype(np.float32)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, given in (("plain", {}), ("aimed", {"inputs": X})):
            done = streamsvd.compress(W, Path(scratch, kind), 0.05, principal=1.0, **given)
            held = streamsvd.open_compressed(Path(scratch, kind))
            off = np.linalg.norm((W["w"] - held["w"]) @ X.T) / np.linalg.norm(W["w"] @ X.T)
            figures[kind] = {"ratio": done.compression_ratio, "answers": float(off)}
    said = ", ".join(f"{k}: {f['ratio']:.2f} x, {f['answers']:.3f} off" for k, f in figures.items())
    met = figures["aimed"]["answers"] <= 0.05
    return Table(
        "C2",
        "a network compressed for what it is given",
        [Row("one layer", "<= 0.05 off", said, judged(met))],
        figures=figures,
    )
