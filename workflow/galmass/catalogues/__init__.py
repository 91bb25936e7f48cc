"""Catalogues of galaxies: photometry, redshifts, masses, classes, splits."""
