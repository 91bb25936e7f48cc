"""Nuker profiles as sums of Gaussians, which deproject analytically: `load` gives both ways of doing it."""

from galmass.deprojection.expansion import load as load
