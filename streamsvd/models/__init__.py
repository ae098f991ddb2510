"""Models: what `svd` finds once, kept true while blocks arrive."""

from streamsvd.models.absorption import Update
from streamsvd.models.model import Model, repair_model, update
from streamsvd.models.whole import export, merge

__all__ = ["Model", "Update", "export", "merge", "repair_model", "update"]
