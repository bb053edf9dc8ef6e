"""What the board's requests share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request

from kanwa_mdt.application.decide import FhirServer
from kanwa_mdt.settings import MdtSettings
from kanwa_mdt.web.rendering import Rendering

if TYPE_CHECKING:
    from kanwa_mdt.web.board import BoardCache

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]


@dataclass(frozen=True, slots=True)
class BoardState:
    """Opened by the application's lifespan; `signs_in` is whether readers have a session to end."""

    settings: MdtSettings
    pool: Pool
    rendering: Rendering
    fhir: FhirServer
    boards: "BoardCache"
    signs_in: bool = field(default=False)


def state_of(request: Request) -> BoardState:
    """The application's state."""
    return request.app.state.board
