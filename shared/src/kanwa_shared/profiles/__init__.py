"""kanwa's own profiles: what the referral loop requires of its resources beyond R4, as StructureDefinitions."""

from kanwa_shared.profiles.judgement import claimed_faults, validate_profile
from kanwa_shared.profiles.published import profile_resources, profiles_of

__all__ = ["claimed_faults", "profile_resources", "profiles_of", "validate_profile"]
