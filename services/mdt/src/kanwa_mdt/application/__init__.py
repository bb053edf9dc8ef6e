"""The use cases of the board: project, rebuild, follow, decide."""
