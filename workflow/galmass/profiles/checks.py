"""What the profiles ask of their inputs: one kind of array, and values that make a profile."""

from functools import reduce

import numpy as np
import torch

from galmass.errors import InputError


def of_one_kind(*values):
    """All as tensors where one is a tensor, else all as float arrays; Python scalars take the precision of what they stand beside."""
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    if tensors:
        floats = [v.dtype for v in tensors if v.is_floating_point()] or [torch.get_default_dtype()]
        return [torch.as_tensor(v, dtype=reduce(torch.promote_types, floats), device=tensors[0].device) for v in values]
    arrays = [np.asarray(v) for v in values if not isinstance(v, int | float)]
    dtype = np.result_type(np.float32, *arrays) if arrays else np.float64
    return [np.asarray(v, dtype=dtype) for v in values]


def require(profile: str, name: str, values, fine, wanted: str) -> None:
    """Raise `InputError` with the first of `values` that is not `fine`; NaN never is."""
    if not bool(fine.all()):
        raise InputError(f"{profile} profile: {name} is {float(values[~fine].reshape(-1)[0]):g}; it must be {wanted}")


def require_finite(profile: str, **values) -> None:
    """Raise `InputError` unless every value is a finite number."""
    for name, value in values.items():
        require(profile, name, value, abs(value) < np.inf, "a finite number")


def require_radius(profile: str, radius) -> None:
    """Raise `InputError` unless every radius is positive and finite."""
    require(profile, "radius", radius, (radius > 0) & (radius < np.inf), "a positive finite number [pc]")
