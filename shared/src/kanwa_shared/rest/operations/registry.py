"""Which operations of the specification are offered, on what and at which level."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.rest.operations.everything import everything
from kanwa_shared.rest.operations.export import export
from kanwa_shared.rest.operations.meta import meta, meta_add, meta_delete
from kanwa_shared.rest.operations.validate import validate_resource
from kanwa_shared.rest.service import Level, Operation

ANY: Final = "Resource"
_OFFICIAL: Final = "http://hl7.org/fhir/OperationDefinition/"
_BULK_DATA: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class StandardOperation:
    """An operation that answers HTTP requests itself; `resource_type` "Resource" means every type."""

    name: str
    resource_type: str
    levels: tuple[Level, ...]
    endpoint: Callable[[Request], Awaitable[Response]]
    definition: str
    affects_state: bool = True

    def offered(self, resource_type: str | None, level: Level) -> bool:
        """Whether the type has it on this level; None for the server as a whole."""
        return level in self.levels and (level == "system" or self.resource_type in (ANY, resource_type))


STANDARD: Final = (
    StandardOperation(
        "$validate", ANY, ("type", "instance"), validate_resource, _OFFICIAL + "Resource-validate", False
    ),
    StandardOperation("$meta", ANY, ("system", "type", "instance"), meta, _OFFICIAL + "Resource-meta", False),
    StandardOperation("$meta-add", ANY, ("instance",), meta_add, _OFFICIAL + "Resource-meta-add"),
    StandardOperation("$meta-delete", ANY, ("instance",), meta_delete, _OFFICIAL + "Resource-meta-delete"),
    StandardOperation(
        "$everything", "Patient", ("instance",), everything, _OFFICIAL + "Patient-everything", False
    ),
    StandardOperation("$export", "Patient", ("type",), export, _BULK_DATA + "patient-export", False),
    StandardOperation("$export", "", ("system",), export, _BULK_DATA + "export", False),
)


def standard_operation(name: str, resource_type: str | None, level: Level) -> StandardOperation | None:
    """The operation of that name, None if it is not offered there."""
    return next((one for one in STANDARD if one.name == name and one.offered(resource_type, level)), None)


def operations_on(
    resource_type: str, registered: tuple[Operation, ...]
) -> Iterator[Operation | StandardOperation]:
    """Every operation of a type and its instances: the service's own, then those of the specification."""
    yield from (one for one in registered if one.resource_type == resource_type)
    yield from (
        one
        for one in STANDARD
        if one.offered(resource_type, "type") or one.offered(resource_type, "instance")
    )
