"""Observation.status: every pair of status and command."""

from itertools import product

import pytest

from kanwa_outcomes.domain.observation_states import (
    TRANSITIONS,
    ObservationCommand,
    ObservationStatus,
    check_change,
)
from kanwa_shared.errors import BusinessRule

S, C = ObservationStatus, ObservationCommand
OPEN = {S.REGISTERED, S.PRELIMINARY, S.UNKNOWN}
RESULT = {S.FINAL, S.AMENDED, S.CORRECTED}

#: Written out apart from the code: from which statuses each command is allowed.
ALLOWED = {
    C.REPORT: OPEN,
    C.FINALISE: OPEN,
    C.CANCEL: OPEN,
    C.LOSE_TRACK: OPEN,
    C.AMEND: OPEN | RESULT,
    C.CORRECT: OPEN | RESULT,
    C.MARK_AS_ERROR: set(S) - {S.ENTERED_IN_ERROR},
}


@pytest.mark.parametrize(("status", "command"), list(product(S, C)))
def test_a_command_is_allowed_exactly_from_its_statuses(status: S, command: C) -> None:
    assert ((status, command) in TRANSITIONS) == (status in ALLOWED[command])


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_a_change_of_status_is_refused_unless_a_command_leads_there(before: S, after: S) -> None:
    reachable = {target for (status, _), target in TRANSITIONS.items() if status == before} | {before}
    if after in reachable:
        check_change(before, after)
        return
    with pytest.raises(BusinessRule) as refusal:
        check_change(before, after)
    assert refusal.value.issues[0].expression == ("Observation.status",)


def test_a_final_result_is_not_made_preliminary_again() -> None:
    with pytest.raises(BusinessRule, match="amended, corrected, entered-in-error"):
        check_change("final", "preliminary")
