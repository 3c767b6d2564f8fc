"""One run: what it needs, its stages, its folder, how it samples and is judged. Open stages.py first."""
