"""What can be set: settings and their ranges, components and their YAML files, presets, and how words become a run."""
