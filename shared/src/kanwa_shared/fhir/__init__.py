"""FHIR R4 as kanwa reads and answers it."""
