"""What measurements mean for a procedure: pure functions over FHIR trees and values."""
