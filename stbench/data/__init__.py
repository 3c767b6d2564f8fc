"""Clips of videos: which frames, how they are decoded or generated, and in which order a run sees them."""
