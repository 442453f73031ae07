"""Convolutional networks for images, as in Radford et al. (2015)."""
