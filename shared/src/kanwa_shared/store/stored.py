"""A resource as the store gives it back."""

from dataclasses import dataclass
from datetime import datetime

from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One version of one resource; `body` is its exact JSON text, None when the version is a deletion."""

    resource_type: str
    id: str
    version: int
    last_updated: datetime
    interaction: str
    body: bytes | None

    @property
    def deleted(self) -> bool:
        """Whether this version is a deletion."""
        return self.body is None

    @property
    def reference(self) -> str:
        """Relative reference, `Type/id`."""
        return f"{self.resource_type}/{self.id}"

    @property
    def tree(self) -> Tree:
        """A number-preserving tree of the text, parsed anew at each call: the caller may change it."""
        if self.body is None:
            raise ValueError(f"{self.reference} version {self.version} is a deletion and has no content")
        return parse(self.body)
