"""Images of galaxies: their store, frames of surveys, cutouts, rendered skies."""
