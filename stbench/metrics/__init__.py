"""How far generated clips lie from real ones: features of a frozen network, distances between them, and the protocol.

This package and its modules `catalogue` and `protocol` import without torch, so that `stbench list` stays quick.
"""
