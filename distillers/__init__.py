"""Transfer objectives other than contrast: pure functions, and modules where they have weights."""

from .functional import attention, fitnet, kd, pixel_kd
from .regressor import FitNetRegressor

__all__ = ["FitNetRegressor", "attention", "fitnet", "kd", "pixel_kd"]
