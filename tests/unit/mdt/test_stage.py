"""The stage of a referral for every combination of the states that decide it."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from kanwa_mdt.domain.case import ENDED, Stage
from kanwa_mdt.domain.stage import Standing, stage_of

REQUESTS = ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
TASKS = (
    "", "draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold",
    "failed", "completed", "entered-in-error",
)  # fmt: skip
VISITS = ("proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow")
PROCEDURES = ("preparation", "in-progress", "not-done", "on-hold", "stopped", "completed")


def standing(request: str = "active", task: str = "received", **changes: object) -> Standing:
    values: dict[str, object] = {
        "intent": "order", "business": "", "mdt_open": False, "appointments": (), "procedures": (),
    }  # fmt: skip
    return Standing(request=request, coordination=task, **(values | changes))


def test_every_pair_of_request_and_task_has_its_stage() -> None:
    for request, task in product(REQUESTS, TASKS):
        stage = stage_of(standing(request, task))
        if not task and request != "active":
            assert stage is None
        elif task == "rejected":
            assert stage == Stage.DECLINED
        elif request in {"revoked", "completed", "entered-in-error"} or task in {
            "completed", "cancelled", "failed", "entered-in-error",
        }:  # fmt: skip
            assert stage == Stage.CLOSED
        else:
            assert stage is not None
            assert stage not in ENDED


@given(st.sampled_from(VISITS), st.sampled_from(PROCEDURES), st.booleans())
def test_a_referral_that_ended_stays_ended(visit: str, procedure: str, asked: bool) -> None:
    for task in ("completed", "failed", "cancelled", "rejected"):
        now = standing(task=task, appointments=(visit,), procedures=(procedure,), mdt_open=asked)
        assert stage_of(now) in ENDED


def test_a_procedure_under_way_counts_before_its_task_says_so() -> None:
    assert stage_of(standing(task="accepted", procedures=("in-progress",))) == Stage.IN_PROCEDURE
    assert stage_of(standing(task="accepted", procedures=("completed",))) == Stage.FOLLOW_UP


def test_a_visit_that_was_cancelled_or_missed_is_to_be_scheduled_again() -> None:
    for status in ("cancelled", "noshow"):
        assert stage_of(standing(task="accepted", appointments=(status,))) == Stage.ACCEPTED


def test_a_held_time_is_not_a_booking() -> None:
    assert stage_of(standing(task="accepted", appointments=("pending",))) == Stage.ACCEPTED
