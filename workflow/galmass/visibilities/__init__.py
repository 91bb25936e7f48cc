"""Interferometric visibilities: reading, channels, weights, uv grids, and the model that is compared with them."""
