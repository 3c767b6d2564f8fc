"""What became of a file of claims, as tables, plots and a page; from the outcome alone."""
