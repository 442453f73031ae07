"""Variational autoencoders (Kingma & Welling 2013)."""
