"""Data from a source to batches: specification, split, codec, order and stream."""
