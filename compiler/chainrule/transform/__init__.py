"""Transformations: functions of functions."""

from chainrule.transform.gradients import grad, value_and_grad, vjp
from chainrule.transform.transformed import Transformed

__all__ = ["Transformed", "grad", "value_and_grad", "vjp"]
