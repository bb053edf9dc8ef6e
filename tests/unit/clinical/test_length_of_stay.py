"""The site's own length of stay."""

from typing import Any

from kanwa_shared.clinical.length_of_stay import (
    LENGTH_OF_STAY_URL,
    expected_length_of_stay,
    stay_in_words,
)

Tree = dict[str, Any]


def stated(procedure: str, **parts: Tree) -> Tree:
    named = [{"url": name, **value} for name, value in parts.items()]
    return {
        "url": LENGTH_OF_STAY_URL,
        "extension": [{"url": "procedure", "valueCode": procedure}, *named],
    }


def test_the_suite_speaks_before_the_hospital_that_it_is_part_of() -> None:
    suite = {"extension": [stated("vertebroplasty", medianDays={"valueDecimal": 1})]}
    hospital = {"extension": [stated("vertebroplasty", medianDays={"valueDecimal": 3})]}
    assert expected_length_of_stay("vertebroplasty", [suite, hospital]) == suite["extension"][0]
    assert expected_length_of_stay("vertebroplasty", [{}, hospital]) == hospital["extension"][0]


def test_nothing_is_said_of_a_procedure_that_the_site_does_not_name() -> None:
    suite = {"extension": [stated("tips", medianDays={"valueDecimal": 5}), {"url": "http://other.example"}]}
    assert expected_length_of_stay("vertebroplasty", [suite]) is None


def test_the_figure_is_told_with_all_that_the_site_states() -> None:
    whole = stated(
        "tips",
        medianDays={"valueDecimal": 2},
        lowerQuartileDays={"valueDecimal": 1},
        upperQuartileDays={"valueDecimal": 4},
        n={"valueInteger": 57},
        asOf={"valueDate": "2026-01-31"},
    )
    assert stay_in_words(whole) == "median 2 d (1-4), n=57, as of 2026-01-31"
    assert stay_in_words(stated("tips", medianDays={"valueDecimal": 2})) == "median 2 d"
    assert stay_in_words(stated("tips", n={"valueInteger": 57})) is None
