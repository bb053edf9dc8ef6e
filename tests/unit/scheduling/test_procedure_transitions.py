"""The Procedure's transition table, written out a second time by hand, and every pair walked."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_scheduling.domain.procedure import (
    TRANSITIONS,
    after,
    check_change,
    missing_content,
)
from kanwa_scheduling.domain.procedure import (
    ProcedureCommand as Command,
)
from kanwa_scheduling.domain.procedure import (
    ProcedureStatus as Status,
)
from kanwa_shared.errors import BusinessRule

EXPECTED: dict[str, dict[str, str]] = {
    "preparation": {"start": "in-progress", "abandon": "not-done"},
    "in-progress": {"complete": "completed", "stop": "stopped", "suspend": "on-hold"},
    "on-hold": {"start": "in-progress", "stop": "stopped"},
    "unknown": {"start": "in-progress", "complete": "completed", "stop": "stopped", "abandon": "not-done"},
    "not-done": {},
    "stopped": {},
    "completed": {},
    "entered-in-error": {},
}
for _status, _ways in EXPECTED.items():
    if _status != "entered-in-error":
        _ways["void"] = "entered-in-error"


@pytest.mark.parametrize(("status", "command"), list(product(Status, Command)), ids=str)
def test_every_state_and_command_leads_where_the_table_says(status: Status, command: Command) -> None:
    expected = EXPECTED[status].get(command)
    if expected is None:
        assert (status, command) not in TRANSITIONS
        with pytest.raises(BusinessRule, match=f"that is {status}"):
            after(status, command)
    else:
        assert after(status, command) == expected


@pytest.mark.parametrize(("before", "to"), list(product(Status, Status)), ids=str)
def test_a_client_may_change_the_status_only_along_the_table(before: Status, to: Status) -> None:
    if before == to or to in EXPECTED[before].values():
        check_change(before, to)
        return
    with pytest.raises(BusinessRule, match=f"from {before} to {to}") as refusal:
        check_change(before, to)
    assert refusal.value.issues[0].expression == ("Procedure.status",)


@given(st.lists(st.sampled_from(list(Command)), max_size=12))
def test_whatever_is_asked_an_ended_procedure_never_runs_again(commands: list[Command]) -> None:
    status, ended = Status.PREPARATION, False
    for command in commands:
        try:
            status = after(status, command)
        except BusinessRule:
            continue
        ended = ended or status in {Status.COMPLETED, Status.STOPPED, Status.NOT_DONE}
        assert not (ended and status in {Status.IN_PROGRESS, Status.PREPARATION, Status.ON_HOLD})


@pytest.mark.parametrize("status", ["not-done", "stopped"])
def test_a_procedure_that_missed_its_aim_says_why(status: str) -> None:
    (issue,) = missing_content({"resourceType": "Procedure", "status": status})
    assert issue.expression == ("Procedure.statusReason",)
    assert missing_content({"status": status, "statusReason": {"text": "ascites had gone"}}) == []


def test_a_completed_procedure_says_when_it_was_performed() -> None:
    (issue,) = missing_content({"status": "completed"})
    assert issue.expression == ("Procedure.performed",)
    assert missing_content({"status": "completed", "performedDateTime": "2026-03-02"}) == []
    assert (
        missing_content({"status": "completed", "performedPeriod": {"start": "2026-03-02T09:00:00Z"}}) == []
    )


@pytest.mark.parametrize("status", ["preparation", "in-progress", "on-hold", "unknown"])
def test_an_open_procedure_needs_neither_reason_nor_time(status: str) -> None:
    assert missing_content({"status": status}) == []
