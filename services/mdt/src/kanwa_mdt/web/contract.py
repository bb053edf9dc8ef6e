"""What events there are: the AsyncAPI document, and a page for people."""

from functools import cache
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from kanwa_mdt.web.access import page
from kanwa_mdt.web.state import BoardState
from kanwa_shared.messaging.asyncapi import document_bytes
from kanwa_shared.messaging.envelope import INTERACTIONS
from kanwa_shared.messaging.event_schema import attributes, event_types, resource_schema
from kanwa_shared.messaging.topology import Topology

Row = tuple[str, str, list[str]]


async def asyncapi(request: Request) -> Response:
    """GET /asyncapi.json."""
    board: BoardState = request.app.state.board
    return Response(document_bytes(board.settings.amqp_prefix), media_type="application/json")


async def show_contract(request: Request) -> Response:
    """GET /asyncapi: exchanges, attributes, and the types of events by service."""
    board: BoardState = request.app.state.board
    return page(
        board.rendering.page(
            "contract.html",
            title="Events",
            signed_in=False,
            topology=Topology((), board.settings.amqp_prefix),
            attributes=attributes(),
            interactions=INTERACTIONS,
            services=_services(),
        )
    )


@cache
def _services() -> list[tuple[str, list[Row]]]:
    """By service: its resource types with their R4 page and their members."""
    owned = sorted({(service, resource_type) for service, resource_type, _ in event_types()})
    return [
        (service, [_row(resource_type) for _, resource_type in types])
        for service, types in groupby(owned, key=lambda named: named[0])
    ]


def _row(resource_type: str) -> Row:
    schema = resource_schema(resource_type)
    members = [name for name in schema["properties"] if not name.startswith("_")]
    return resource_type, schema["externalDocs"]["url"], members
