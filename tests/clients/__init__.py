"""FHIR clients that nobody here wrote, used as their authors mean them to be: one script each, no workaround.

A script takes the FHIR base as its argument, prints the flows that it ran and ends with 0, or fails with what went
wrong.
"""
