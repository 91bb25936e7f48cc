"""Gas discs in the potential of stars and a black hole."""
