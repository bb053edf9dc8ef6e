"""The catalogue: complete, in order, and nothing in it without a source (clinical statement F.31)."""

import re

import pytest

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import (
    NO_FIGURE,
    CatalogueEntry,
    Figure,
    catalogue,
    measures,
    procedure_of,
)

CODES = [
    "paracentesis",
    "tunnelled-peritoneal-catheter",
    "thoracentesis",
    "tunnelled-pleural-catheter",
    "pericardial-drainage",
    "peritoneovenous-shunt",
    "transjugular-transhepatic-peritoneovenous-shunt",
    "tips",
    "biliary-drainage",
    "nephrostomy",
    "abscess-drainage",
    "gastrostomy",
    "transesophageal-gastrostomy",
    "biliary-stent",
    "ureteral-stent",
    "esophageal-stent",
    "gastroduodenal-stent",
    "colonic-stent",
    "airway-stent",
    "svc-stent",
    "ivc-stent",
    "portal-vein-stent",
    "vertebroplasty",
    "kyphoplasty",
    "osteoplasty",
    "bone-rfa",
    "bone-cryoablation",
    "bone-mwa",
    "celiac-neurolysis",
    "tumor-embolization",
    "emergency-embolization",
    "ruptured-hcc-embolization",
    "bronchial-artery-embolization",
    "lymphatic-embolization",
    "covered-stent",
]

ENTRIES = [pytest.param(entry, id=code) for code, entry in catalogue().items()]


def figures(entry: CatalogueEntry) -> list[Figure]:
    return [*entry.success, *entry.complications, *entry.effects, *entry.contraindications]


def test_the_catalogue_has_the_35_codes_in_their_order() -> None:
    assert list(catalogue()) == CODES


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_figure_has_a_mark_and_a_shown_one_its_source(entry: CatalogueEntry) -> None:
    for figure in figures(entry):
        assert figure.mark in {"S", "C", "M"}
        assert figure.shown == (figure.mark in {"S", "C"}), figure.text
        assert figure.source if figure.shown else figure.line == NO_FIGURE


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_figure_from_memory_is_rendered_as_no_figure_seen(entry: CatalogueEntry) -> None:
    for figure in figures(entry):
        if figure.mark == "M":
            assert figure.line == "no figure seen"
        else:
            assert re.search(rf"\[{figure.mark}; n(=\d+| not seen); .+\]$", figure.line)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_fraction_in_a_figure_has_no_more_patients_than_the_study(entry: CatalogueEntry) -> None:
    for figure in figures(entry):
        for part, whole in re.findall(r"(\d+)/(\d+) ?\(", figure.text):
            assert int(part) <= int(whole)
            if figure.n is not None:
                assert int(whole) <= figure.n


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_primary_measure_is_planned_for_and_its_day_lies_in_its_window(entry: CatalogueEntry) -> None:
    plan = entry.follow_up
    first, last = plan.primary_window
    assert plan.primary in plan.measures
    assert plan.measures[0] == plan.primary
    assert first <= plan.primary_day <= last
    assert plan.primary_day in entry.follow_up_days
    assert list(plan.days) == sorted(set(plan.days))


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_is_whole(entry: CatalogueEntry) -> None:
    assert entry.display
    assert entry.indication
    assert entry.symptom
    assert entry.bleeding.scheme == "SIR 2019"
    assert entry.duration_minutes > 0
    assert entry.groups
    assert len(set(entry.groups)) == len(entry.groups)
    assert (entry.bleeding.code in {"conditional", "unclassified"}) <= (entry.bleeding.condition is not None)
    assert entry.needs_baseline_pain == (entry.group == "pain")


def test_celiac_neurolysis_shows_minus_0_42_and_that_it_is_below_the_2_point_mcid() -> None:
    lines = " ".join(figure.line for figure in catalogue()["celiac-neurolysis"].success)
    assert "-0.42" in lines
    assert "below 2-point MCID" in lines


def test_vertebroplasty_keeps_both_accounts_of_its_adverse_reactions() -> None:
    texts = [figure.text for figure in catalogue()["vertebroplasty"].complications]
    assert any("no major adverse reaction" in text for text in texts)
    assert any("grade 3 puncture-site bleed" in text for text in texts)


def test_the_groups_are_those_of_the_founding_abstract() -> None:
    by_group = {
        group: [code for code, entry in catalogue().items() if entry.group == group]
        for group in ("drainage", "stent", "pain", "bleeding")
    }
    assert [len(found) for found in by_group.values()] == [13, 9, 7, 6]
    assert catalogue()["biliary-drainage"].groups == ("drainage", "stent")
    assert catalogue()["abscess-drainage"].groups == ("drainage", "bleeding")


def test_an_observation_names_a_measure_by_loinc_or_by_the_local_code() -> None:
    bilirubin = measures()["bilirubin"]
    assert bilirubin.measures(codes.loinc("1975-2"))
    assert bilirubin.measures(codes.concept(codes.MEASURE, "bilirubin"))
    assert not bilirubin.measures(codes.loinc("2160-0"))
    assert not bilirubin.measures(codes.concept("http://other.example", "bilirubin"))


def test_every_loinc_code_of_a_measure_has_the_display_that_was_seen() -> None:
    for measure in measures().values():
        for code in measure.loinc:
            assert codes.LOINC_DISPLAY[code]


def test_a_concept_names_a_procedure_among_codings_of_other_systems() -> None:
    concept = {
        "coding": [
            {"system": "http://site.example/codes", "code": "vertebroplasty-2"},
            codes.coding(codes.IR_PROCEDURE, "vertebroplasty"),
        ]
    }
    assert procedure_of(concept) is catalogue()["vertebroplasty"]
    assert procedure_of({"text": "vertebroplasty"}) is None
    assert procedure_of(None) is None
