"""The board page and its fragments."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kanwa_mdt.domain.case import ENDED, Case, Named, Stage
from kanwa_mdt.domain.fact import Fact
from kanwa_mdt.domain.wording import concept_words, human_name
from kanwa_mdt.settings import MdtSettings
from kanwa_mdt.store import cases, facts, log
from kanwa_mdt.web.access import page
from kanwa_mdt.web.rendering import STAGE_WORDS, Column, Rendering
from kanwa_mdt.web.state import Connection, state_of
from kanwa_shared.clock import utc_now

POSITION_HEADER = "x-kanwa-position"


@dataclass(frozen=True, slots=True)
class Board:
    """The columns at a position of the log, rendered once for all readers; `minute` keeps clocks right."""

    position: int
    minute: int
    html: str
    digest: str


class BoardCache:
    """The last rendered board of this process: a hundred readers of one change cost one rendering."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._rendering = asyncio.Lock()

    async def board(self, request: Request) -> Board:
        """The board as the log has it now."""
        state = state_of(request)
        async with self._rendering, state.pool.connection() as connection:
            position, now = await log.last_position(connection), utc_now()
            minute = int(now.timestamp()) // 60
            if self._board is None or (self._board.position, self._board.minute) != (position, minute):
                html = await render_columns(connection, state.rendering, state.settings)
                digest = hashlib.blake2b(html.encode(), digest_size=12).hexdigest()
                self._board = Board(position, minute, html, digest)
            return self._board


async def render_columns(connection: Connection, rendering: Rendering, settings: MdtSettings) -> str:
    """All columns and the strip of emergencies, from one look at the database."""
    now = utc_now()
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        counts = await cases.counts(connection)
        shown = {s: await cases.column(connection, s, _limit(s, settings)) for s in Stage if counts[s]}
        labels = await labels_of(connection, (case for listed in shown.values() for case in listed))
    columns = [
        Column(stage, [rendering.card(case, labels, now) for case in shown.get(stage, ())], counts[stage])
        for stage in Stage
    ]
    open_cards = [card for column in columns if column.stage not in ENDED for card in column.cards]
    emergencies = [card.case for card in open_cards if card.case.priority == "stat"]
    return rendering.page(
        "columns.html",
        columns=columns,
        emergencies=emergencies,
        total=sum(counts.values()),
        base_url=settings.base_url,
        now=now,
    )


async def labels_of(connection: Connection, shown: Iterable[Case]) -> Mapping[str, str]:
    """What places and people are called, by reference; those that nobody has told of are left out."""
    wanted = {person.reference for case in shown for person in _people(case) if person and person.reference}
    found = await facts.find(connection, wanted)
    roles = {r: str(f.tree.get("practitioner", {}).get("reference", "")) for r, f in found.items()}
    people = await facts.find(connection, {reference for reference in roles.values() if reference})
    names = {
        r: label_of(f) or (label_of(people[roles[r]]) if roles[r] in people else "") for r, f in found.items()
    }
    return {reference: name for reference, name in names.items() if name}


def label_of(fact: Fact) -> str:
    """The name of a person, place or team; empty if it has none."""
    tree = fact.tree
    name = tree.get("name")
    if isinstance(name, str):
        return name
    if name:
        family, given = human_name(name)
        return " ".join(part for part in (given, family) if part)
    return str(tree.get("practitioner", {}).get("display", "")) or concept_words(
        next(iter(tree.get("code", ())), None)
    )


async def show_board(request: Request) -> Response:
    """GET /: the whole page, complete without scripts."""
    state = state_of(request)
    board = await state.boards.board(request)
    html = state.rendering.page("board.html", board=board, signed_in=state.signs_in, title="MDT board")
    return page(html)


async def show_columns(request: Request) -> Response:
    """GET /board/columns: the columns alone; 304 if the reader has them as they are."""
    board = await state_of(request).boards.board(request)
    headers = {"etag": f'"{board.digest}"', POSITION_HEADER: str(board.position)}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return page(board.html, headers=headers)


async def show_card(request: Request) -> Response:
    """GET /board/cards/{id}: one case's card; 404 if there is no such case."""
    state = state_of(request)
    async with state.pool.connection() as connection:
        case = await cases.find(connection, request.path_params["id"])
        if case is None:
            raise HTTPException(404, "no such case")
        labels = await labels_of(connection, [case])
    card = state.rendering.card(case, labels, utc_now())
    return page(str(card.html), headers={"etag": f'"{card.digest}"'})


async def show_stage(request: Request) -> Response:
    """GET /stages/{stage}?page=1: every case of a stage, a page at a time."""
    state = state_of(request)
    try:
        stage = Stage(request.path_params["stage"])
        number = max(1, int(request.query_params.get("page", "1")))
    except ValueError as error:
        raise HTTPException(404, "no such stage or page") from error
    size, now = state.settings.column_cards_max, utc_now()
    async with state.pool.connection() as connection:
        count = (await cases.counts(connection))[stage]
        listed = await cases.column(connection, stage, size, (number - 1) * size)
        labels = await labels_of(connection, listed)
    cards = [state.rendering.card(case, labels, now) for case in listed]
    html = state.rendering.page(
        "stage.html",
        title=STAGE_WORDS[stage],
        stage=stage,
        cards=cards,
        count=count,
        page=number,
        pages=max(1, -(-count // size)),
        signed_in=state.signs_in,
    )
    return page(html)


def _limit(stage: Stage, settings: MdtSettings) -> int:
    return settings.ended_cards_max if stage in ENDED else settings.column_cards_max


def _people(case: Case) -> list[Named | None]:
    return [case.requester, case.site, *(case.appointment.actors if case.appointment else ())]
