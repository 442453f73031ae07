"""Generative models of tables: numbers, categories, dates and missing cells."""
