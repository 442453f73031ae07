"""Plain autoencoders, which sample through a prior fitted to their codes."""
