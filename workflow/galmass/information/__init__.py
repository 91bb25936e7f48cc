"""Information of inputs about the mass, decomposed: arrays in, arrays out; this room knows no other."""

from galmass.information.decomposition import components
from galmass.information.prior import prior_nll

__all__ = ["components", "prior_nll"]
