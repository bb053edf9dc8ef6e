"""The FHIR REST engine: one file per interaction, named as the specification names it."""
