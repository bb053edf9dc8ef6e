"""Outcomes: measurements, response classes and follow-up."""
