"""What the options of a verb mean for a collection."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamsvd.collections.encoding import margin
from streamsvd.collections.mathematics import ClusterCriteria
from streamsvd.collections.options import ClusterOptions, CompressionOptions, Principal
from streamsvd.collections.weights import NO_WEIGHTS, Weights
from streamsvd.store.collections import Collection


@dataclass(frozen=True, slots=True)
class ClusteringRequest:
    """What options mean for a collection.

    Attributes
    ----------
    criteria
        For the error less what is left to rounding.
    error, spare
        What was asked, and that part.
    seed
        Of projections.
    weights
        Where errors matter.
    principal, target
        Error of what blocks share, where residuals make up for the rest, and the error that they are to meet; None
        where there are none.
    """

    criteria: ClusterCriteria
    error: float
    spare: float
    seed: int
    weights: Weights
    principal: Principal = None
    target: float | None = None

    @classmethod
    def of(
        cls,
        source: Collection,
        options: ClusterOptions | CompressionOptions,
        weights: Weights = NO_WEIGHTS,
    ) -> ClusteringRequest:
        """Of what was asked."""
        error, target = options.error, None
        principal: Principal = None
        if isinstance(options, CompressionOptions) and options.principal is not None:
            principal, target = options.principal, options.error
            error = target if principal in ("auto", 1) else float(principal)
        spare = margin(list({m.dtype for m in source.members}), error)
        criteria = replace(options.criteria, error=error - spare)
        return cls(criteria, error, spare, options.seed, weights, principal, target)
