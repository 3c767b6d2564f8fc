"""What a noise study found: its figures, plots, page and sentences."""
