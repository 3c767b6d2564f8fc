"""What a backbone is told of a clip, and what it must make of it: nothing and all, or frames or pixels between."""
