"""Parameters of kernels as scikit-learn names them, in the terms of `streamsvd.nystrom`."""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError


def length_of(kernel: Any, gamma: float | None, n_features: int) -> float | None:
    """Length scale of a kernel from scikit-learn's ``gamma``; None if it is to be chosen on the data.

    ``"rbf"`` ``exp(-gamma |x - y|^2)``, ``"laplacian"`` ``exp(-gamma |x - y|_1)``, ``"polynomial"`` ``(gamma x.y + coef0)^degree``,
    whose gamma is one over the number of columns if left out; ``"matern"`` has ``gamma = 1 / length``.

    Raises
    ------
    SpecError
        If gamma is not positive.
    """
    if gamma is None:
        return float(n_features) ** 0.5 if kernel == "polynomial" else None
    if not 0 < gamma < float("inf"):
        raise SpecError(f"gamma={gamma!r} makes no kernel. Pass a positive number.")
    if kernel == "rbf":
        return float((2 * gamma) ** -0.5)
    return float(gamma**-0.5) if kernel == "polynomial" else float(1 / gamma)
