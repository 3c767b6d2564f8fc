"""How fast stbench itself is: `make bench` measures, on this machine, what docs/performance.md claims.

Every speed is a ratio of two pieces of work that were timed in turn in one process.
"""
