"""Recipe, file and overrides, merged into one checked configuration."""
