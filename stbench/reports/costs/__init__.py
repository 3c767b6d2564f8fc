"""Tables and plots of what variants cost."""
