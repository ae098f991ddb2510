"""Models: what `svd` finds once, kept true while blocks arrive."""

from streamsvd.drivers.model.absorption import Update
from streamsvd.drivers.model.model import Model, repair_model, update
from streamsvd.drivers.model.whole import export, merge

__all__ = ["Model", "Update", "export", "merge", "repair_model", "update"]
