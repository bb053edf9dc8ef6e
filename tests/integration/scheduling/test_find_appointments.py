"""`Appointment/$find` over HTTP."""

import pytest

from tests.support.scheduling import (
    IR,
    TEAM_ROLE,
    Scheduling,
    at,
    concept,
    find_parameters,
    practitioner_role,
    service_request,
)


async def test_the_candidates_are_proposed_appointments_with_actors_and_slots(hospital: Scheduling) -> None:
    answer = await hospital.call("find", *find_parameters("r"))
    assert answer.status_code == 200
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    assert bundle["total"] == len(bundle["entry"]) > 0
    first = bundle["entry"][0]["resource"]
    assert first["status"] == "proposed"
    assert (first["start"], first["end"]) == (at(0), at(1))
    assert first["minutesDuration"] == 60
    assert first["basedOn"] == [{"reference": "ServiceRequest/r"}]
    assert [p["actor"]["reference"] for p in first["participant"]] == [
        "Patient/p-r",
        "Location/suite",
        "PractitionerRole/operator",
    ]
    assert {slot["reference"] for slot in first["slot"]} == {"Slot/suite-am", "Slot/operator-am"}
    assert first["serviceType"][0]["coding"][0]["code"] == "paracentesis"


async def test_the_earliest_comes_first_and_every_start_fits_the_duration(hospital: Scheduling) -> None:
    starts = [appointment["start"] for appointment in await hospital.find()]
    assert starts == [at(0), at(0.5), at(1), at(1.5), at(2), at(2.5), at(3)]


async def test_count_limits_the_entries_and_not_the_total(hospital: Scheduling) -> None:
    answer = await hospital.call("find", *find_parameters("r"), {"name": "_count", "valueInteger": 2})
    assert len(answer.json()["entry"]) == 2
    assert answer.json()["total"] == 7


@pytest.mark.parametrize("start", ["9999-12-31", "9999-12-31T23:59:60Z"])
async def test_a_start_at_the_end_of_the_calendar_finds_nothing(hospital: Scheduling, start: str) -> None:
    answer = await hospital.call("find", *find_parameters("r", start)[:2])
    assert (answer.status_code, answer.json()["total"]) == (200, 0)


async def test_a_leap_second_in_a_slot_is_kept_when_the_slot_is_cut(hospital: Scheduling) -> None:
    slot = await hospital.read("Slot/suite-am")
    await hospital.put({**slot, "start": at(-1 / 60).replace(":00Z", ":60Z")}, 200)
    booked = await hospital.book((await hospital.find())[1])
    assert booked.status_code == 201, booked.text


async def test_nothing_before_now_is_offered(hospital: Scheduling) -> None:
    await hospital.slot("suite-past", "suite", -100, -80)
    await hospital.slot("operator-past", "operator", -100, -80)
    assert (await hospital.find(start=at(-120)))[0]["start"] == at(0)


async def test_a_busy_slot_of_the_same_actor_in_another_schedule_takes_the_time(hospital: Scheduling) -> None:
    await hospital.put(
        {"resourceType": "Schedule", "id": "ward", "actor": [{"reference": "PractitionerRole/operator"}]}, 201
    )
    await hospital.slot("ward-round", "ward", 0, 2, status="busy-unavailable")
    assert [a["start"] for a in await hospital.find()] == [at(2), at(2.5), at(3)]


async def test_an_operator_without_the_skill_is_never_offered(hospital: Scheduling) -> None:
    await hospital.referral("s", code=concept(IR, "vertebroplasty"))
    answer = await hospital.call("find", *find_parameters("s"))
    (entry,) = answer.json()["entry"]
    assert answer.json()["total"] == 0
    assert entry["search"]["mode"] == "outcome"
    assert "operator for vertebroplasty" in entry["resource"]["issue"][0]["diagnostics"]


async def test_an_inactive_schedule_and_one_past_its_horizon_offer_nothing(hospital: Scheduling) -> None:
    schedule = await hospital.read("Schedule/suite")
    await hospital.put({**schedule, "planningHorizon": {"start": at(2), "end": at(3.5)}}, 200)
    assert [a["start"] for a in await hospital.find()] == [at(2), at(2.5)]
    await hospital.put({**schedule, "active": False}, 200)
    assert await hospital.find() == []


async def test_an_operator_of_another_hospital_does_not_come_to_this_suite(scheduling: Scheduling) -> None:
    await scheduling.replicate(practitioner_role("north-operator", organization="north"))
    await scheduling.replicate(practitioner_role("south-operator", organization="south"))
    for site in ("north", "south"):
        await scheduling.put(
            {
                "resourceType": "Location",
                "id": f"{site}-hospital",
                "managingOrganization": {"reference": f"Organization/{site}"},
            },
            201,
        )
        await scheduling.put(
            {
                "resourceType": "Location",
                "id": f"{site}-suite",
                "partOf": {"reference": f"Location/{site}-hospital"},
            },
            201,
        )
        await scheduling.actor(f"Location/{site}-suite", "paracentesis")
        await scheduling.actor(f"PractitionerRole/{site}-operator", "paracentesis")
    await scheduling.slot("n1", "north-suite", 0, 2)
    await scheduling.slot("n2", "south-operator", 0, 2)
    await scheduling.referral()
    assert await scheduling.find() == []
    await scheduling.slot("n3", "north-operator", 1, 2)
    assert [a["start"] for a in await scheduling.find()] == [at(1)]

    await scheduling.slot("s1", "south-suite", 1, 2)
    await scheduling.replicate(
        {"resourceType": "Organization", "id": "ward", "partOf": {"reference": "Organization/south"}}
    )
    await scheduling.referral("q", requester={"reference": "Organization/ward"})
    found = await scheduling.find("q")
    assert [a["participant"][1]["actor"]["reference"] for a in found] == [
        "Location/south-suite",
        "Location/north-suite",
    ]
    assert "extension" not in found[0]
    assert found[1]["extension"][0]["valueBoolean"] is True
    only_north = await scheduling.find(
        "q", {"name": "organization", "valueReference": {"reference": "Organization/north"}}
    )
    assert [a["participant"][1]["actor"]["reference"] for a in only_north] == ["Location/north-suite"]


async def test_anaesthesia_is_planned_where_the_referral_asks_for_it(hospital: Scheduling) -> None:
    await hospital.referral("a", orderDetail=[concept(TEAM_ROLE, "anaesthesia")])
    assert await hospital.find("a") == []
    await hospital.actor("PractitionerRole/anaesthetist", role="anaesthesia")
    await hospital.slot("anaesthetist-late", "anaesthetist", 2, 4)
    found = await hospital.find("a")
    assert found[0]["start"] == at(2)
    assert {p["actor"]["reference"] for p in found[0]["participant"]} >= {"PractitionerRole/anaesthetist"}


async def test_times_are_written_as_the_clock_of_the_suite_shows_them(hospital: Scheduling) -> None:
    suite = await hospital.read("Location/suite")
    url = "http://hl7.org/fhir/StructureDefinition/timezone"
    await hospital.put({**suite, "extension": [{"url": url, "valueCode": "Asia/Tokyo"}]}, 200)
    (first, *_) = await hospital.find()
    assert first["start"].endswith("+09:00")


async def test_the_sites_expected_length_of_stay_goes_with_the_appointment(hospital: Scheduling) -> None:
    def stay(code: str, days: int) -> dict[str, object]:
        url = "https://kanwa.example/fhir/StructureDefinition/expected-length-of-stay"
        parts = [{"url": "procedure", "valueCode": code}, {"url": "medianDays", "valueDecimal": days}]
        return {"url": url, "extension": parts}

    assert "extension" not in (await hospital.find())[0]
    site = {"resourceType": "Location", "id": "site", "extension": [stay("paracentesis", 2), stay("tips", 5)]}
    await hospital.put(site, 201)
    suite = await hospital.read("Location/suite")
    await hospital.put({**suite, "partOf": {"reference": "Location/site"}}, 200)
    booked = await hospital.book((await hospital.find())[0])
    assert booked.json()["extension"] == [stay("paracentesis", 2)]
    await hospital.put(
        {**suite, "extension": [stay("paracentesis", 1)], "partOf": {"reference": "Location/site"}}
    )
    await hospital.referral("s")
    assert (await hospital.find("s"))[0]["extension"] == [stay("paracentesis", 1)]


async def test_a_referral_may_be_named_by_its_identifier(hospital: Scheduling) -> None:
    await hospital.referral("i", identifier=[{"system": "urn:placer", "value": "77"}])
    answer = await hospital.call(
        "find",
        {"name": "referral-identifier", "valueIdentifier": {"system": "urn:placer", "value": "77"}},
        {"name": "start", "valueDateTime": at(0)},
        {"name": "end", "valueDateTime": at(4)},
    )
    assert answer.json()["entry"][0]["resource"]["basedOn"] == [{"reference": "ServiceRequest/i"}]


async def test_a_referral_that_is_not_accepted_yet_may_be_looked_up(scheduling: Scheduling) -> None:
    await scheduling.small_hospital()
    await scheduling.referral(accepted=False)
    assert await scheduling.find()


async def test_find_works_as_a_search_with_get(hospital: Scheduling) -> None:
    answer = await hospital.client.get(
        "Appointment/$find",
        params={"based-on": "ServiceRequest/r", "start": at(0), "end": at(4), "_count": "1"},
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["entry"]) == 1


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        (find_parameters("r")[1:], 400, "required"),
        ([{"name": "based-on", "valueReference": {"reference": "Patient/x"}}], 400, "invalid"),
        ([*find_parameters("r"), {"name": "insurance-reference", "valueString": "x"}], 400, "not-supported"),
        (find_parameters("unknown"), 422, "not-found"),
        (find_parameters("r", start=at(4), end=at(2)), 400, "invalid"),
        (
            [*find_parameters("r"), {"name": "visit-type", "valueString": f"{IR}|haircut"}],
            422,
            "code-invalid",
        ),
    ],
    ids=[
        "no referral",
        "not a referral",
        "unknown parameter",
        "unknown referral",
        "reversed",
        "no such procedure",
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(
    hospital: Scheduling, parameters: list[dict[str, object]], status: int, code: str
) -> None:
    answer = await hospital.call("find", *parameters)
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["code"] == code


async def test_a_revoked_referral_has_no_times(hospital: Scheduling) -> None:
    await hospital.replicate(service_request("r", status="revoked"))
    answer = await hospital.call("find", *find_parameters("r"))
    assert answer.status_code == 422
    assert "revoked" in answer.json()["issue"][0]["diagnostics"]
