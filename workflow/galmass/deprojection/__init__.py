"""Nuker profiles as sums of Gaussians, which deproject analytically."""
