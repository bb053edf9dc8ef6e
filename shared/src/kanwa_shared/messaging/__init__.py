"""The way of an event: outbox, relay, broker, inbox, effect."""
