"""A plugin that keeps every promise: the tests of the kit break one of them at a time."""
