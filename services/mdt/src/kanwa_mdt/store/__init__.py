"""SQL of the event log and of the read models."""
