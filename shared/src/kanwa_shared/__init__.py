"""The FHIR engine, messaging and clinical catalogue that every kanwa service shares."""
