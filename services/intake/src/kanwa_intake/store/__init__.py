"""SQL that intake asks beside the engine's."""
