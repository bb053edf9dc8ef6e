"""PostgreSQL: resources with all their versions, and the one commit that writes them with their events."""
