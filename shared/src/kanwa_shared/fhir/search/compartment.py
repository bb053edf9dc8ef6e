"""The Patient compartment: which resources are a patient's.

See https://hl7.org/fhir/R4/compartmentdefinition-patient.html.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import msgspec

from kanwa_shared.fhir.search.definitions import all_types, parameters_of

_TABLE: Final = files("kanwa_shared.fhir.search") / "patient_compartment.json"
_CLINICAL_DATE: Final = "clinical-date"

#: R4's compartment leaves these out although they may be about one patient; without them the record would be
#: incomplete (the Tasks of a referral, an implanted stent).
BEYOND_R4: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"Contract": ("patient",), "Device": ("patient",), "GuidanceResponse": ("patient",), "Task": ("patient",)}
)


@cache
def patient_compartment() -> Mapping[str, frozenset[str]]:
    """Names of index rows by resource type: what refers to the Patient in one of them is the patient's."""
    official = msgspec.json.decode(_TABLE.read_bytes(), type=dict[str, tuple[str, ...]])
    return MappingProxyType(
        {
            resource_type: frozenset(
                row for param in params for row in parameters_of(resource_type)[param].row_params
            )
            for resource_type, params in {**official, **BEYOND_R4}.items()
        }
    )


@cache
def rows_of_members() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The compartment as two columns: resource type and index row, side by side."""
    pairs = sorted((kind, row) for kind, rows in patient_compartment().items() for row in rows)
    return tuple(kind for kind, _ in pairs), tuple(row for _, row in pairs)


@cache
def dated_types() -> tuple[str, ...]:
    """Types whose official search parameter `date` (clinical-date) tells when the care was given."""
    return tuple(
        name
        for name in all_types()
        if (date := parameters_of(name).get("date")) is not None and date.url == _CLINICAL_DATE
    )
