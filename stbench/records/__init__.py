"""The record of a run: its schema, its sections, records on disk, and statistics of a few noisy numbers. No torch."""
