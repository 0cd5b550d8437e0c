"""Mistakes of kernels, one file each: what is wrong, whom it can hurt, and the functions it replaces."""
