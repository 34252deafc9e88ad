"""Random calls of the public API, each reproducible from a seed and its number."""
