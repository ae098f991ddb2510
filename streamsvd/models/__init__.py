"""Models: what `svd` finds once, kept true while blocks arrive."""

from streamsvd.models.absorption import UpdateReport
from streamsvd.models.merge_export import export_model, merge_models
from streamsvd.models.model import Model, repair_model, update

__all__ = ["Model", "UpdateReport", "export_model", "merge_models", "repair_model", "update"]
