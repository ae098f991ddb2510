"""A further pass over the same rows: exact products, and what they prove.

``Y = G V`` for the orthonormal columns V that the stream left, exactly. The Ritz vectors of V have exact values and
residuals, so that the residual bound of `streamsvd.streams.mathematics.claims` is deterministic; one power step, ``orth(Y Z)``, is the
better answer, and the bound is carried over to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import linalg

from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.signs import phases
from streamsvd.streams.mathematics import claims
from streamsvd.streams.mathematics.power import orthonormal
from streamsvd.streams.mathematics.verdict import StreamAnswer
from streamsvd.typing import Matrix


@dataclass(slots=True, eq=False)
class ProductSums:
    """``A* A V``, rows and energy of some rows of A.

    Attributes
    ----------
    products
        ``(n, b)``, for columns V of the same shape.
    n_rows, energy
        How many rows there were, and the sum of the squares of their entries.
    """

    products: Matrix
    n_rows: int = 0
    energy: float = 0.0

    def add(self, rows: Matrix, basis: Matrix) -> None:
        """With some more rows."""
        X = rows.astype(np.float64, copy=False)
        self.products += X.T @ (X @ basis)
        self.n_rows += X.shape[0]
        self.energy += float(np.einsum("ij,ij->", X, X))

    def absorb(self, other: ProductSums) -> ProductSums:
        """With those of other rows."""
        self.products += other.products
        self.n_rows, self.energy = self.n_rows + other.n_rows, self.energy + other.energy
        return self


@dataclass(slots=True, eq=False)
class Refinement:
    """A further pass, and what it proves.

    Parameters
    ----------
    first_answer
        What is to be refined.

    Attributes
    ----------
    sums
        What all rows add up to.
    """

    first_answer: StreamAnswer
    sums: ProductSums = field(init=False)

    def __post_init__(self) -> None:
        self.sums = ProductSums(np.zeros_like(self.first_answer.basis))

    def update(self, rows: Matrix) -> None:
        """Absorb a block of rows."""
        basis = self.first_answer.basis
        if rows.ndim != 2 or rows.shape[1] != basis.shape[0]:
            raise ShapeError(
                f"a block of shape {rows.shape} came in a further pass over rows of {basis.shape[0]} numbers."
            )
        self.sums.add(rows, basis)

    def finalize(self) -> StreamAnswer:
        """The better answer, with what is proved of it.

        Raises
        ------
        SpecError
            If these were other rows than those of the first pass.
        """
        first, sums = self.first_answer, self.sums
        same = abs(sums.energy - first.energy) <= 1e-6 * first.energy
        if sums.n_rows != first.n_rows or not same:
            raise SpecError(
                f"the further pass saw {sums.n_rows:,} rows of energy {sums.energy:.9g}, the first "
                f"{first.n_rows:,} of {first.energy:.9g}. Pass the same rows again, in any order."
            )
        V, Y, k = first.basis, sums.products, first.components.shape[0]
        H = V.T @ Y
        theta, Z = linalg.eigh((H + H.T) / 2, driver="evd", check_finite=False)
        theta, Z = np.maximum(theta[::-1], 0.0), Z[:, ::-1]
        V, Y = V @ Z, Y @ Z
        known, rounding = V[:, :k], self._rounding()
        residuals = np.linalg.norm(Y[:, :k] - known * theta[:k], axis=0) + rounding
        beta = first.minorant.outside(known)
        better = orthonormal(Y) if theta[0] > 0 else V
        answer = better[:, :k] * phases(better[:, :k])
        sine = claims.residual_sine(theta[:k] - rounding, residuals, beta)
        sine = claims.transfer_sine(sine, known, answer)
        c = first.certificate
        if c.evidence == "deterministic":  # what was proved stays proved
            sine = min(sine, claims.transfer_sine(c.sine, first.components.T, answer))
        moved = claims.transfer_sine(0.0, known, answer)
        held = float(np.sum(theta[:k]))
        less = moved * float(np.sqrt(k * first.minorant.outside(answer)))
        captured = max(np.sqrt(held) - less, 0.0) ** 2 / first.energy if first.energy else 1.0
        lower = np.maximum(c.values_lower, theta[:k] - rounding)
        following = float(theta[k]) if theta.size > k else 0.0
        estimate = claims.transfer_sine(
            claims.residual_sine(theta[:k], residuals, following), known, answer
        )
        certificate = replace(
            c,
            values_lower=np.minimum(lower, c.values_upper),
            sine=sine,
            evidence="deterministic" if sine < 1 else "none",
            captured_lower=min(
                1.0, max(float(captured), first.minorant.energy(answer) / first.energy)
            )
            if first.energy
            else 1.0,
            captured_evidence="deterministic",
            failure_probability=0.0,
            sine_estimate=min(estimate, sine),
            captured_estimate=min(1.0, held / first.energy) if first.energy else 1.0,
        )
        values = np.clip(theta[:k], certificate.values_lower, certificate.values_upper)
        return replace(
            first,
            components=answer.T,
            values=values,
            method="refined",
            certificate=certificate,
            basis=better,
        )

    def _rounding(self) -> float:
        """Of a product with ``A* A``, as the norm of an error."""
        return 8 * UNIT_ROUNDOFF * float(np.sqrt(max(self.sums.n_rows, 1))) * self.sums.energy
