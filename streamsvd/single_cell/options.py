"""What `cells` may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from streamsvd.checks.numbers import check_integer, check_numbers, check_seed
from streamsvd.errors import SpecError
from streamsvd.options import make_plain, option

Flavor = Literal["seurat_v3", "seurat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsOptions:
    """What `cells` may be asked."""

    genes: int = option(2000, "Genes that are kept: those that vary most.")
    rank: int = option(50, "Components wanted.")
    flavor: Flavor = option(
        "seurat_v3",
        "seurat_v3: variance of clipped counts about its trend; seurat: dispersion of normalised counts.",
    )
    target: float = option(1e4, "What the counts of each cell are normalised to sum to.")
    mito: str = option("MT-", "How names of mitochondrial genes begin, in either case.")
    span: float = option(0.3, "Share of the genes that a local fit of the trend takes in.")
    tol: float | None = option(None, "Relative width asked of each interval [1e-3].")
    seed: int = option(0, "Of the random numbers.")

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("genes", "rank"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least=1))
        check_numbers(target=self.target, span=self.span, tol=self.tol)
        check_seed(self.seed)
        if self.flavor not in get_args(Flavor):
            raise SpecError(
                f"flavor={self.flavor!r} is unknown. Pass one of {', '.join(get_args(Flavor))}."
            )
        if not 0 < self.target < float("inf"):
            raise SpecError(
                f"target={self.target} is no sum of counts. Pass a positive number, such as 1e4."
            )
        if not 0 < self.span <= 1:
            raise SpecError(f"span={self.span} is no share of the genes. Pass one in (0, 1].")
        if not isinstance(self.mito, str):
            raise SpecError(f'mito={self.mito!r} is no text. Pass how names begin, or "" for none.')
        if self.rank > self.genes:
            raise SpecError(
                f"rank={self.rank} is more than the genes={self.genes} that are kept. Pass rank <= {self.genes}."
            )

    @property
    def count_passes(self) -> int:
        """Passes before the components: sums of counts, and of clipped ones."""
        return 2 if self.flavor == "seurat_v3" else 1
