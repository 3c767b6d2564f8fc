"""Scaled dot-product attention behind one name: the backends, the module, what `auto` chooses, and why one cannot run."""
