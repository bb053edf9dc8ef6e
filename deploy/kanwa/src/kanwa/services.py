"""Which services there are: the one place that knows them all."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import kanwa_mdt.service as mdt
from kanwa_intake.service import definition as intake
from kanwa_outcomes.service import definition as outcomes
from kanwa_scheduling.service import definition as scheduling
from kanwa_shared.messaging.topology import Binding, Topology
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.worker import binding_of

#: The services that own resources.
FHIR_SERVICES: Final[Mapping[str, ServiceDefinition]] = MappingProxyType(
    {definition.name: definition for definition in (intake, scheduling, outcomes)}
)
MDT: Final = mdt.CONSUMER_NAME
SERVICES: Final = (*FHIR_SERVICES, MDT)


def migration_folders(service: str) -> tuple[Path, ...]:
    """The service's own SQL files, beside the shared ones."""
    folder = mdt.MIGRATIONS if service == MDT else FHIR_SERVICES[service].migrations
    return (folder,) if folder is not None else ()


def topology(prefix: str = "kanwa") -> Topology:
    """Every queue and binding of the deployment."""
    bindings = [binding_of(definition) for definition in FHIR_SERVICES.values()]
    return Topology((*bindings, Binding(MDT, tuple(mdt.BINDINGS))), prefix)
