"""The bleeding-risk gate (clinical statements F.9 and F.10)."""

from decimal import Decimal

import pytest

from kanwa_shared.clinical.bleeding import GateResult, assess_bleeding, platelets_per_nanolitre
from kanwa_shared.clinical.catalogue import catalogue


def gate(code: str, inr: str | None = None, platelets: str | None = None, **more: object) -> GateResult:
    return assess_bleeding(
        catalogue()[code],
        inr=None if inr is None else Decimal(inr),
        platelets=None if platelets is None else Decimal(platelets),
        **more,
    )


def advised(result: GateResult) -> list[str]:
    return [advice.code for advice in result.advice]


def test_vertebroplasty_with_inr_1_9_is_advised_against_with_the_rule() -> None:
    result = gate("vertebroplasty", "1.9", "180")
    assert advised(result) == ["inr-above-threshold"]
    assert "high: INR <= 1.8" in result.advice[0].text
    assert "SIR consensus 2019" in result.advice[0].text
    assert result.advice[0].threshold == Decimal("1.8")
    assert result.advice[0].inputs == ("6301-6",)


@pytest.mark.parametrize("inr", ["1.8", "1.6", "1.10"])
def test_vertebroplasty_with_inr_up_to_1_8_passes(inr: str) -> None:
    assert gate("vertebroplasty", inr, "50").passed


def test_vertebroplasty_with_49_platelets_is_advised_to_transfuse() -> None:
    result = gate("vertebroplasty", "1.1", "49")
    assert advised(result) == ["platelets-below-threshold"]
    assert "transfuse" in result.advice[0].text


def test_paracentesis_with_inr_2_9_and_21_platelets_passes() -> None:
    assert gate("paracentesis", "2.9", "21").passed


def test_paracentesis_with_19_platelets_is_advised_on() -> None:
    assert advised(gate("paracentesis", "2.9", "19")) == ["platelets-below-threshold"]


def test_a_low_risk_procedure_without_laboratory_values_passes_as_not_routinely_required() -> None:
    result = gate("paracentesis")
    assert result.passed
    assert any("not routinely required" in note for note in result.notes)


def test_a_low_risk_procedure_under_warfarin_asks_for_the_inr_alone() -> None:
    result = gate("paracentesis", on_warfarin=True)
    assert [item.loinc for item in result.missing] == ["6301-6"]
    assert "warfarin" in result.missing[0].reason
    assert result.advice == ()


def test_a_high_risk_procedure_without_laboratory_values_asks_for_inr_and_platelets() -> None:
    result = gate("vertebroplasty")
    assert [item.loinc for item in result.missing] == ["6301-6", "777-3"]
    assert not result.passed


def test_femoral_embolisation_needs_an_inr_below_1_8() -> None:
    assert advised(gate("tumor-embolization", "1.8", arterial_access="femoral")) == ["arterial-access-inr"]
    assert gate("tumor-embolization", "1.79", arterial_access="femoral").passed


def test_radial_embolisation_with_inr_2_1_passes() -> None:
    assert gate("tumor-embolization", "2.1", arterial_access="radial").passed
    assert advised(gate("tumor-embolization", "2.2", arterial_access="radial")) == ["arterial-access-inr"]


def test_an_embolisation_whose_access_is_not_stated_is_judged_as_femoral_and_says_so() -> None:
    result = gate("emergency-embolization", "2.0")
    assert advised(result) == ["arterial-access-inr"]
    assert "not stated" in result.advice[0].text


@pytest.mark.parametrize("code", ["biliary-stent", "abscess-drainage", "airway-stent"])
def test_an_open_class_holds_nothing_back_and_is_judged_by_the_high_thresholds(code: str) -> None:
    result = gate(code)
    assert result.missing == ()
    assert advised(result) == ["bleeding-class-open"]
    assert advised(gate(code, "1.9", "180")) == ["inr-above-threshold"]
    assert gate(code, "1.8", "50").passed


def test_a_value_whose_unit_is_unknown_cannot_be_judged() -> None:
    high = gate("vertebroplasty", "1.1", unreadable={"777-3"})
    assert [item.loinc for item in high.missing] == ["777-3"]
    assert "unit" in high.missing[0].reason
    assert advised(gate("paracentesis", "1.1", unreadable={"777-3"})) == ["value-cannot-be-judged"]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("180", "10*3/uL", "180"),
        ("180", "10*9/L", "180"),
        ("180", "x10*9/L", "180"),
        ("180", "10^9/L", "180"),
        ("180", "10^3/\u00b5L", "180"),
        ("180", "K/uL", "180"),
        ("180000", "/uL", "180.000"),
        ("18.0", "10*4/uL", "180.0"),
    ],
)
def test_platelets_are_converted_from_the_units_that_laboratories_send(
    value: str, unit: str, expected: str
) -> None:
    assert platelets_per_nanolitre(Decimal(value), unit) == Decimal(expected)


@pytest.mark.parametrize("unit", [None, "", "g/L", "G/L", "mg/dL", "10*12/L", "{count}"])
def test_platelets_in_an_unknown_unit_are_not_guessed(unit: str | None) -> None:
    assert platelets_per_nanolitre(Decimal(180), unit) is None
