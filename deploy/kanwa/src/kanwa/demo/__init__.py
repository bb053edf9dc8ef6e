"""Example cases of all four procedure groups, driven through the loop by plain FHIR calls."""
