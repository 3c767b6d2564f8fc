"""Reports of runs and comparisons between them, made from records alone: no torch, and nothing is run again."""
