"""Which rows a kernel can be had of."""

from __future__ import annotations

from typing import Any

from streamsvd.errors import SpecError
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import innermost_source


def check_kernel_rows(source: Source, kernel: Any) -> None:
    """Refuse a kernel of rows of which only some entries are stored that needs them all.

    Raises
    ------
    SpecError
        If it sums over all columns what the products and norms of rows do not tell.
    """
    if kernel == "laplacian" and is_sparse(innermost_source(source)):
        raise SpecError(
            f'kernel="laplacian" needs |x - y| in every one of the {source.shape[1]:,} columns, and {source.name} is sparse: most of '
            'them are zero in both rows. Pass kernel="rbf", "matern" or "cosine", which follow from products and norms of rows, '
            "or the matrix with its zeros."
        )
