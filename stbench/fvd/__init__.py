"""`stbench fvd REAL FAKE`: the distances between two sets of videos."""
