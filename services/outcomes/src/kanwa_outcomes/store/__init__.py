"""SQL over the tables that outcomes has beside the engine's."""
