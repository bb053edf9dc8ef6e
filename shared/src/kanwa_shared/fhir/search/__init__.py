"""Search as R4 defines it: what a resource is found by, how a query is read, and how it is answered.

https://hl7.org/fhir/R4/search.html
"""

from kanwa_shared.fhir.search.conditions import Search
from kanwa_shared.fhir.search.definitions import SearchParameter, search_parameters
from kanwa_shared.fhir.search.execution import SearchPage, execute
from kanwa_shared.fhir.search.indexing import IndexRows, index
from kanwa_shared.fhir.search.parsing import parse_search
from kanwa_shared.fhir.search.projection import projected

__all__ = [
    "IndexRows",
    "Search",
    "SearchPage",
    "SearchParameter",
    "execute",
    "index",
    "parse_search",
    "projected",
    "search_parameters",
]
