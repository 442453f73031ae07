"""Priors: where codes are drawn from."""
