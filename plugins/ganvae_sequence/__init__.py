"""Text, series and sounds: sources, views, networks and observations of sequences."""
