"""Models: what `svd` finds once, kept true while blocks arrive."""

from streamsvd.models.absorption import UpdateReport
from streamsvd.models.merge_export import export_model, merge_models
from streamsvd.models.model import Model, repair_model
from streamsvd.models.verb import UpdatePlan, plan_update, update

__all__ = [
    "Model",
    "UpdatePlan",
    "UpdateReport",
    "export_model",
    "merge_models",
    "plan_update",
    "repair_model",
    "update",
]
