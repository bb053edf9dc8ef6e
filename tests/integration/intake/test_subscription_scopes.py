"""A Subscription tells nobody what their token may not read."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kanwa_shared.fhir.json_text import dumps
from tests.support.authorization import AUDIENCE, ISSUER, AuthorizationServer
from tests.support.intake_service import Intake, intake
from tests.support.one_service import JSON
from tests.support.subscriber import Subscriber
from tests.support.subscriptions import TOPIC, appointment, referral, subscription
from tests.support.waiting import until

Tree = dict[str, Any]
BOTH = "system/Subscription.cruds system/Appointment.rs system/ServiceRequest.crus"
APPOINTMENTS = "system/Subscription.cruds system/Appointment.rs"


@pytest.fixture
def authorization(tmp_path: Path) -> AuthorizationServer:
    server = AuthorizationServer(tmp_path)
    server.add_key("first")
    return server


@pytest.fixture
async def guarded(intake_database: str, authorization: AuthorizationServer) -> AsyncIterator[Intake]:
    settings: dict[str, Any] = {
        "auth_mode": "jwt",
        "auth_issuer": ISSUER,
        "auth_audience": AUDIENCE,
        "auth_jwks_file": authorization.file,
    }
    async with intake(intake_database, **settings) as running:
        yield running


async def test_events_of_an_earlier_topic_are_told_to_who_may_read_their_type(
    guarded: Intake, authorization: AuthorizationServer, listening: Subscriber
) -> None:
    def by(scope: str) -> dict[str, str]:
        return {**JSON, "authorization": f"Bearer {authorization.token(scope=scope)}"}

    async def put(tree: Tree, scope: str) -> int:
        url = f"{tree['resourceType']}/{tree['id']}"
        return (await guarded.client.put(url, content=dumps(tree), headers=by(scope))).status_code

    referrals = {**subscription(listening.url, content="full-resource"), "id": "board"}
    appointments = {**referrals, "criteria": f"{TOPIC}/appointment-booked"}
    assert await put(referrals, APPOINTMENTS) == 403
    assert await put(referrals, BOTH) == 201
    assert await put({**referral(), "id": "r"}, BOTH) == 201
    await guarded.hear_itself()

    # What waits for the endpoint goes there whatever the topic is by then.
    assert await put(appointments, APPOINTMENTS) == 403
    assert await put(appointments, BOTH) == 200
    await guarded.replicate(appointment(), service="scheduling")
    async with guarded.sending():
        await until(lambda: listening.numbers == [1, 2])

    answers = {
        scope: await guarded.client.get("Subscription/board/$events", headers=by(scope))
        for scope in (BOTH, APPOINTMENTS)
    }
    assert (answers[BOTH].status_code, answers[APPOINTMENTS].status_code) == (200, 403)
    assert "system/ServiceRequest.r" in answers[APPOINTMENTS].text
    later = await guarded.client.get(
        "Subscription/board/$events", params={"eventsSinceNumber": "2"}, headers=by(APPOINTMENTS)
    )
    assert (later.status_code, "Appointment/a1" in later.text) == (200, True)

    # Nothing waits any more, and who lost a scope may at least turn it off.
    assert await put({**appointments, "status": "requested"}, APPOINTMENTS) == 200
    assert await put({**appointments, "status": "requested"}, "system/Subscription.cruds") == 403
    assert await put({**appointments, "status": "off"}, "system/Subscription.cruds") == 200
