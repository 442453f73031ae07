"""Generative adversarial networks: the losses of Goodfellow et al. (2014)."""
