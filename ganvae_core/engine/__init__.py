"""The engine: runs any objective on any device, and has no subclasses."""
