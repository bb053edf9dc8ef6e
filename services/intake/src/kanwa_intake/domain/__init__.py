"""The rules of a referral: pure functions over FHIR trees and facts."""
