"""The kanwa command line, the embedded run, its seed and its demonstration."""
