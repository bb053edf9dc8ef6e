"""SQL over the tables that scheduling adds to the resources."""
