"""Messages to subscribers: their ids, their signatures, and the credentials of the endpoint."""

import base64
import hashlib
import hmac
from datetime import timedelta

from kanwa_shared.fhir.json_text import dumps
from tests.support.intake_service import Clock, Intake
from tests.support.one_service import JSON
from tests.support.subscriber import Subscriber
from tests.support.subscribing import becomes, refer, subscribe
from tests.support.subscriptions import subscription
from tests.support.waiting import until

NO_PARAMETERS = dumps({"resourceType": "Parameters"})


async def rotated(service: Intake, reference: str) -> str:
    """The new signing secret."""
    rotate = {"resourceType": "Parameters", "parameter": [{"name": "rotate", "valueBoolean": True}]}
    answer = await service.client.post(f"{reference}/$signing-secret", content=dumps(rotate), headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()["parameter"][0]["valueString"]


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As docs/api/subscriptions.md tells receivers to find out."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{wanted}")


async def test_no_message_of_a_subscription_that_is_made_again_has_the_id_of_an_older_one(
    service: Intake, listening: Subscriber
) -> None:
    tree = {**subscription(listening.url), "id": "board"}
    for times in (1, 2):
        await service.write(tree, 201)
        await refer(service, 1)
        async with service.sending():
            await until(lambda times=times: len(listening.numbers) == times)
        assert (await service.client.delete("Subscription/board")).status_code == 204
    assert listening.numbers == [1, 1]
    ids = [notification.headers["webhook-id"] for notification in listening.received]
    assert len(set(ids)) == len(ids) == 4


async def test_a_message_that_is_sent_again_has_the_id_that_it_had(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url, timeout=1))
    async with service.sending(clock := Clock()):
        await becomes(service, reference, "active")
        listening.hangs = True
        await refer(service, 1)
        await until(lambda: listening.hanging == 1)
        await rotated(service, reference)
        clock.ahead += timedelta(minutes=1)
        await until(lambda: listening.hanging == 2)
        listening.hangs = False
        listening.released.set()
        await until(lambda: listening.numbers == [1, 1])
    assert len({event.headers["webhook-id"] for event in listening.of_kind("event-notification")}) == 1


async def test_after_a_rotation_the_next_message_is_signed_with_the_new_secret(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url))
    asked = await service.client.post(f"{reference}/$signing-secret", content=NO_PARAMETERS, headers=JSON)
    old = asked.json()["parameter"][0]["valueString"]
    async with service.sending():
        await becomes(service, reference, "active")
        listening.hangs = True
        await refer(service, 3)
        await until(lambda: listening.hanging == 1)
        new = await rotated(service, reference)
        listening.hangs = False
        listening.released.set()
        await until(lambda: listening.numbers == [1, 2, 3])
    signed = listening.of_kind("event-notification")
    assert [is_genuine(old, event.headers, event.body) for event in signed] == [True, False, False]
    assert [is_genuine(new, event.headers, event.body) for event in signed] == [False, True, True]


async def test_a_secret_that_is_rotated_during_the_handshake_leaves_the_subscription_active(
    service: Intake, listening: Subscriber
) -> None:
    listening.hangs = True
    reference = await subscribe(service, subscription(listening.url))
    async with service.sending():
        await until(lambda: listening.hanging == 1)
        await rotated(service, reference)
        listening.hangs = False
        listening.released.set()
        await becomes(service, reference, "active")


async def test_credentials_of_the_endpoint_are_sent_and_never_shown(
    service: Intake, listening: Subscriber
) -> None:
    secret = "Authorization: Bearer c2VjcmV0"
    reference = await subscribe(service, subscription(listening.url, headers=(secret, "X-Ward: 7")))
    shown = await service.read(reference)
    assert shown["channel"]["header"] == ["Authorization: ***", "X-Ward: ***"]
    await service.write({**shown, "reason": "another reason"}, 200)
    async with service.sending():
        await until(lambda: listening.of_kind("handshake"))
    headers = listening.received[0].headers
    assert (headers["authorization"], headers["x-ward"]) == ("Bearer c2VjcmV0", "7")
    everything = await service.client.get(f"{reference}/_history")
    assert "c2VjcmV0" not in everything.text


async def test_a_query_of_r4_comes_back_as_it_was_sent(service: Intake, listening: Subscriber) -> None:
    """Nothing is ever sent for it, so nothing of it is kanwa's to change."""
    topic_based = subscription(listening.url)
    channel = {**topic_based["channel"], "header": ["Authorization: Bearer c2VjcmV0", "c2VjcmV0"]}
    written = await service.write({**topic_based, "criteria": "Observation", "channel": channel}, 201)
    assert written["channel"] == channel
    assert await service.read(f"Subscription/{written['id']}") == written


async def test_a_masked_value_that_is_not_known_is_refused_and_overwrites_nothing(
    service: Intake, listening: Subscriber
) -> None:
    reference = await subscribe(service, subscription(listening.url, headers=("X-Ward: 7",)))
    shown = await service.read(reference)
    shown["channel"]["header"].append("Authorization: ***")
    refusal = await service.write(shown, 422)
    assert refusal["issue"][0]["expression"] == ["Subscription.channel.header[1]"]
    async with service.sending():
        await until(lambda: listening.of_kind("handshake"))
    assert listening.received[0].headers["x-ward"] == "7"
