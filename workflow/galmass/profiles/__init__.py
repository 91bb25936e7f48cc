"""Projected surface-density profiles of galaxies and what they deproject to."""
