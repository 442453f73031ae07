"""Sources of data: digits, arrays, IDX files, folders of images, tables, and what a notebook holds."""
