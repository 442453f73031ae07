"""Unusual components that keep every promise: the kit must find nothing wrong with them."""
