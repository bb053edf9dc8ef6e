"""Use cases of scheduling: one module per command."""
