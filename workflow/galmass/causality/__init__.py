"""Neighbours and local independence tests: arrays in, arrays out; this room knows no other."""
