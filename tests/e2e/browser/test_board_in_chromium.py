"""The board in a real browser: it fills, moves, decides, and comes back by itself."""

import statistics
import time
from collections.abc import Iterable

import pytest
from fastapi import Response
from playwright.async_api import Browser, Locator, Page, expect

from kanwa_shared.fhir.json_text import parse
from kanwa_shared.messaging.envelope import Event, EventHandler
from tests.support.fhir_endpoint import FhirEndpoint
from tests.support.mdt_cases import EventSource, Referral, people, whole_loop
from tests.support.mdt_server import BoardServer
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

SIZES = [(1920, 1080), (1366, 768)]
#: This machine may be busy; what has to be quick is measured.
expect.set_options(timeout=20_000)

BASE = "https://kanwa.example/fhir/CodeSystem"


async def take(handler: EventHandler, events: Iterable[Event]) -> None:
    for event in events:
        await handler(event)


def card(page: Page, stage: str, key: str) -> Locator:
    return page.locator(f'.column[data-stage="{stage}"] li[data-case="{key}"]')


async def live(page: Page) -> None:
    await expect(page.locator("#connection")).to_have_text("Live")


async def test_cases_appear_without_a_reload_within_a_second(
    board: str, page: Page, handler: EventHandler
) -> None:
    await page.goto(board)
    await expect(page.get_by_text("No referrals yet")).to_be_visible()
    await live(page)
    source, seconds = EventSource(), []
    for n in range(5):
        await take(handler, Referral(source, f"c{n}").refer())
        committed = time.monotonic()
        await expect(card(page, "awaiting-mdt", f"c{n}")).to_be_visible()
        seconds.append(time.monotonic() - committed)
    assert statistics.median(seconds) < 1.0, seconds
    await expect(page.get_by_text("No referrals yet")).to_have_count(0)


async def test_a_case_moves_through_the_columns_and_its_number_with_it(
    board: str, page: Page, handler: EventHandler
) -> None:
    referral = Referral(EventSource(), "a")
    await page.goto(board)
    await live(page)
    await take(handler, referral.refer())
    for step, stage in (
        ("decide", "accepted"),
        ("book", "booked"),
        ("begin", "in-procedure"),
        ("perform", "follow-up"),
        ("close", "closed"),
    ):
        await take(handler, getattr(referral, step)())
        await expect(card(page, stage, "a")).to_be_visible()
        await expect(page.locator(f"#stage-{stage} .count")).to_have_text("1 case")
        assert await page.locator('li[data-case="a"]').count() == 1


async def test_focus_stays_on_a_card_that_changes_and_moves(
    board: str, page: Page, handler: EventHandler
) -> None:
    source = EventSource()
    referral, other = Referral(source, "a"), Referral(source, "b")
    await take(handler, [*referral.refer(), *other.refer()])
    await page.goto(board)
    await live(page)
    await card(page, "awaiting-mdt", "a").get_by_role("link").focus()
    await take(handler, referral.decide())
    await expect(card(page, "accepted", "a").get_by_role("link")).to_be_focused()
    await expect(page.locator("#announcer")).to_contain_text("To schedule")


async def test_the_keyboard_alone_reaches_a_case_and_records_a_decision(
    board: str, page: Page, handler: EventHandler, fhir: FhirEndpoint
) -> None:
    source = EventSource()
    first, second = Referral(source, "a", priority="urgent"), Referral(source, "b", "biliary-stent")
    events = [*people(source), *first.refer(), *second.refer()]
    await take(handler, events)
    fhir.holds(next(e for e in events if e.resource_id == "b-approve"))
    await page.goto(board)
    await live(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(card(page, "awaiting-mdt", "a").get_by_role("link")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("AOKI Haru")
    await page.keyboard.press("Tab")
    while not await page.locator('input[name="decision"]').first.evaluate(
        "e => e === document.activeElement"
    ):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Jaundice is the leading burden.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    while not await page.get_by_role("button", name="Record").evaluate("e => e === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The decision is recorded")).to_be_visible()
    [(task, if_match, body)] = fhir.puts
    assert (task, if_match) == ("b-approve", 'W/"1"')
    outputs = parse(body)["output"]
    assert [o["type"]["coding"][0]["code"] for o in outputs] == ["decision", "rationale", "participant"]
    assert outputs[0]["valueCodeableConcept"]["coding"][0]["system"] == f"{BASE}/mdt-decision"
    assert outputs[0]["valueCodeableConcept"]["coding"][0]["code"] == "recommended"
    assert outputs[1]["valueString"] == "Jaundice is the leading burden."
    assert outputs[2]["valueReference"] == {"reference": "Practitioner/sato"}
    assert b'"valueDecimal":1.50' in body


async def test_a_conflict_is_told_and_what_was_written_stays_in_the_form(
    board: str, page: Page, handler: EventHandler, fhir: FhirEndpoint
) -> None:
    referral = Referral(EventSource(), "a")
    events = list(referral.refer())
    await take(handler, events)
    fhir.holds(next(e for e in events if e.resource_id == "a-approve"))
    fhir.refusal = Response(status_code=412)
    await page.goto(f"{board}/cases/a")
    await page.get_by_role("radio", name="Deferred").check()
    await page.get_by_role("textbox", name="Rationale").fill("Await the CT.")
    await page.get_by_role("textbox", name="Names").fill("Dr. Guest")
    await page.get_by_role("button", name="Record").click()
    await expect(page.get_by_role("alert")).to_contain_text(
        "Somebody changed this case while you were writing"
    )
    await expect(page.locator("#problems")).to_be_focused()
    await expect(page.get_by_role("radio", name="Deferred")).to_be_checked()
    await expect(page.get_by_role("textbox", name="Rationale")).to_have_value("Await the CT.")
    await expect(page.get_by_role("textbox", name="Names")).to_have_value("Dr. Guest")
    fhir.refusal = None
    await page.get_by_role("button", name="Record").click()
    await expect(page.get_by_text("The decision is recorded")).to_be_visible()


async def test_a_case_page_follows_its_case_and_leaves_a_begun_form_alone(
    board: str, page: Page, handler: EventHandler
) -> None:
    referral = Referral(EventSource(), "a")
    await take(handler, referral.refer())
    await page.goto(f"{board}/cases/a")
    await live(page)
    await page.get_by_role("textbox", name="Rationale").fill("I am writing")
    await take(handler, [referral.task("approve", note=[{"text": "On the agenda"}])])
    await expect(page.locator(".stale")).to_be_visible()
    await expect(page.get_by_role("textbox", name="Rationale")).to_have_value("I am writing")
    await take(handler, referral.decide())
    await expect(page.locator('.steps [aria-current="step"]')).to_have_text("To schedule")
    await expect(page.locator(".timeline")).to_contain_text("MDT decided: recommended")


async def test_after_a_restart_of_the_server_the_page_says_so_and_ends_equal_to_a_fresh_one(
    board_server: BoardServer, page: Page, browser: Browser, handler: EventHandler
) -> None:
    source = EventSource()
    referral, later = Referral(source, "a"), Referral(source, "b", family="Berg", given="Ida")
    with board_server.started() as board:
        await take(handler, referral.refer())
        await page.goto(board.url)
        await live(page)
    await expect(page.locator("#connection")).to_contain_text("Reconnecting since")
    await take(handler, [*referral.decide(), *later.refer(missing=True)])
    with board_server.started() as board:
        await live(page)
        await expect(card(page, "accepted", "a")).to_be_visible()
        await expect(card(page, "referred", "b")).to_be_visible()
        fresh = await browser.new_page(viewport={"width": 1366, "height": 768})
        await fresh.goto(board.url)
        await live(fresh)
        await expect(card(fresh, "referred", "b")).to_be_visible()
        assert await shown(page) == await shown(fresh)


async def test_a_board_that_was_offline_while_events_went_on_ends_equal_to_one_that_never_left(
    board: str, page: Page, browser: Browser, handler: EventHandler
) -> None:
    source = EventSource()
    first, second = Referral(source, "a"), Referral(source, "b", family="Berg", given="Ida")
    staying = await browser.new_page(viewport={"width": 1366, "height": 768})
    async with TcpProxy("127.0.0.1", int(board.rpartition(":")[2])) as network:
        for opened, address in ((page, f"http://127.0.0.1:{network.port}"), (staying, board)):
            await opened.goto(address)
            await live(opened)
        await take(handler, first.refer())
        await expect(card(page, "awaiting-mdt", "a")).to_be_visible()
        network.refuse(True)
        network.cut()
        await expect(page.locator("#connection")).to_contain_text("Reconnecting since")
        await take(handler, [*whole_loop(second), *first.decide()])
        await expect(card(staying, "accepted", "a")).to_be_visible()
        network.refuse(False)
        await expect(card(page, "accepted", "a")).to_be_visible()
        await until(lambda: same(page, staying), what="both boards being equal")
        await page.goto("about:blank")


async def same(page: Page, other: Page) -> bool:
    return await shown(page) == await shown(other) != []


async def shown(page: Page) -> object:
    """Every card with its content's digest and its column, in order."""
    return await page.locator("li[data-case]").evaluate_all(
        "items => items.map(i => [i.dataset.case, i.dataset.digest, i.closest('.column').dataset.stage])"
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_column_fits_the_screen_and_every_text_can_be_read(
    board: str, browser: Browser, handler: EventHandler, width: int, height: int, scheme: str
) -> None:
    source = EventSource()
    stat = Referral(
        source, "s", "ruptured-hcc-embolization", family="Wolff-Nakamura", priority="stat", baseline="0"
    )
    asap = Referral(source, "p", "svc-stent", family="Goto", priority="asap", baseline="8")
    urgent = Referral(source, "u", "nephrostomy", family="Horn", priority="urgent", baseline="4.8")
    declined = Referral(source, "d", "portal-vein-stent", family="Lund")
    events = [
        *whole_loop(Referral(source, "a")),
        *stat.refer(),
        *stat.book(),
        *stat.begin(),
        *asap.refer(issue="INR"),
    ]
    await take(
        handler, [*events, *urgent.refer(missing=True), *declined.refer(), *declined.decide("not-indicated")]
    )
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    for path in ("/", "/cases/a", "/cases/p", "/cases/s"):
        await page.goto(board + path)
        await live(page)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.evaluate(UNREADABLE) == []
    await page.goto(board)
    columns = page.locator(".column")
    assert await columns.count() == 8
    for n in range(8):
        box = await columns.nth(n).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    await page.close()


#: Texts whose contrast with what is behind them is below WCAG AA (4.5, or 3 for large ones).
UNREADABLE = """() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      const image = style.backgroundImage.match(/rgba?\\([^)]*\\)/);
      if (image) return rgba(image[0]);
      const color = rgba(style.backgroundColor);
      if (color[3] > 0.99) return color;
    }
    return [255, 255, 255, 1];
  };
  const wrong = [];
  for (const element of document.querySelectorAll('body *:not(svg *):not(.unseen)')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest('.unseen, .skip')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(style.color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) wrong.push([element.textContent.trim().slice(0, 40), contrast.toFixed(2)]);
  }
  return wrong;
}"""
