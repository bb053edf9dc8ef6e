"""Bodies: valid resources with something broken in them, and bytes that are no resource at all."""

import copy
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

from kanwa_shared.fhir.json_text import dumps
from tests.mutations.cases import seeds

WEIRD_TEXT: Final = st.sampled_from(
    [
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "é" * 300,
        "\U0001d518" * 5,
        "null",
        "%",
        "%00",
        "../..",
        "<script>",
        "'; --",
        "2026-02-30",
        "9999-12-31T23:59:60Z",
        "0000",
        "1e999",
        "-0",
        "#",
        "urn:uuid:x",
        "http://[",
        "Patient/",
        "a" * 5000,
    ]
) | st.text(max_size=12)
_SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    WEIRD_TEXT,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
WEIRD_JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
_NUMBERS: Final = [b"1.50", b"1e400", b"-1e-400", b"9" * 400, b"NaN", b"0x1", b"01", b"1."]
OWNED: Final = sorted(seeds())


def _places(node: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*place, key)
            yield from _places(value, (*place, key))


def _deep(levels: int) -> Any:
    node: Any = "x"
    for _ in range(levels):
        node = [node] if levels % 2 else {"extension": [node]}
    return node


@st.composite
def resources(draw: st.DrawFn, resource_type: str | None = None, *, sound: float = 0.3) -> bytes:
    """A resource of the type, of any if it is None; a part of them (`sound`) is left valid."""
    chosen = seeds()[resource_type or draw(st.sampled_from(OWNED))]
    tree = copy.deepcopy(draw(st.sampled_from(chosen))[1])
    if draw(st.floats(0, 1)) < sound:
        return dumps(tree)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder: Any = tree
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "remove", "add", "deep", "wrap"])):
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[
                    draw(
                        st.sampled_from(["banana", "_status", "extension", "id", "contained", "resourceType"])
                    )
                ] = draw(WEIRD_JSON)
            case "deep":
                holder[last] = _deep(draw(st.sampled_from([5, 30, 200])))
            case "wrap":
                holder[last] = [holder[last]]
            case _:
                holder[last] = draw(WEIRD_JSON)
    return draw(spoilt(_text(tree)))


def _text(tree: Any) -> bytes:
    try:
        return dumps(tree)
    except (TypeError, ValueError, UnicodeEncodeError):
        return repr(tree).encode(errors="replace")


@st.composite
def spoilt(draw: st.DrawFn, text: bytes) -> bytes:
    """The text, sometimes with a fault that only a parser sees."""
    fault = draw(st.sampled_from(["none"] * 6 + ["cut", "byte", "bom", "twice", "number", "latin"]))
    at = draw(st.integers(0, len(text)))
    match fault:
        case "cut":
            return text[:at]
        case "byte":
            return text[:at] + draw(st.binary(min_size=1, max_size=3)) + text[at:]
        case "bom":
            return b"\xef\xbb\xbf" + text
        case "twice":
            return text.replace(b"{", b'{"id":"a","id":"b",', 1)
        case "number":
            return text.replace(b"}", b',"valueDecimal":' + draw(st.sampled_from(_NUMBERS)) + b"}", 1)
        case "latin":
            return text.decode().encode("utf-16" if at % 2 else "latin-1", errors="replace")
        case _:
            return text
