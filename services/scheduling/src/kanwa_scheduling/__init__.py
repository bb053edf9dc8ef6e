"""Scheduling: IR suites, operators, appointments and procedures."""
