"""Why an Appointment or Procedure did not take place."""

from typing import Final

from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree

#: The code of IHE ITI Scheduling that says the patient did not come.
_IHE_STATUS_REASON: Final = "https://profiles.ihe.net/ITI/Scheduling/CodeSystem/status-reason"

HOLD_EXPIRED: Final = codes.concept(codes.CANCELATION_REASON, "hold-expired")
REFERRAL_ENDED: Final = codes.concept(codes.CANCELATION_REASON, "referral-ended")
PROCEDURE_NOT_DONE: Final = codes.concept(codes.CANCELATION_REASON, "procedure-not-done")


def says_no_show(reason: Tree | None) -> bool:
    """Whether a reason says that the patient did not come."""
    return any(
        codes.has_coding(reason or {}, system, "no-show")
        for system in (codes.CANCELATION_REASON, _IHE_STATUS_REASON)
    )


def words_of(reason: Tree) -> str:
    """A reason as people read it: its text, else the first display."""
    displays = (coding.get("display") for coding in reason.get("coding", ()))
    return reason.get("text") or next((display for display in displays if display), "")
