"""Attention behind one name: the backends, the module, what `auto` chooses, and why a backend cannot run."""
