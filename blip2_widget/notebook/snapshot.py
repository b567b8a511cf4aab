"""A gallery as a static page: what a saved notebook, nbconvert and GitHub show in its place.

There is no style sheet and no script to count on, and GitHub may drop styles too, so it is a plain
table that styles only make flow. Colours are the surroundings', light or dark. Everything that
comes from people, files or the model is text.

nbval compares text/html, so the same answers give the same bytes wherever they are made. That is
why thumbnails are JPEG, whose encoder gives equal bytes in every build of libjpeg-turbo, and GIF,
which Pillow writes by itself; WebP and PNG differ with the libwebp and zlib at hand.
"""

from __future__ import annotations

import base64
from html import escape
from unicodedata import category

from blip2_widget.errors import Blip2Error
from blip2_widget.images import still
from blip2_widget.run import Board, Cell, Measuring, ReviewOf
from blip2_widget.store import Review

#: The longest side of a thumbnail, and tiles a row where no styles make them flow.
_PIXELS = 160
_TILES_A_ROW = 4
#: The most letters of a label, a prompt and an answer.
_LABEL, _PROMPT, _ANSWER = 80, 200, 500

_EDGE = "1px solid rgba(128,128,128,.35)"
_TABLE = "display:block;width:auto;margin:0;border:0;background:none"
_TILE = (
    "display:inline-block;box-sizing:border-box;width:178px;max-width:100%;margin:0 8px 8px 0;"
    f"padding:8px;vertical-align:top;text-align:left;white-space:normal;border:{_EDGE};"
    "border-radius:8px;background:none"
)
_PICTURE = "display:block;max-width:160px;max-height:160px;margin:0 auto 6px;border-radius:4px"
_LINE = "overflow-wrap:anywhere;line-height:1.35"
_FAINT = f"{_LINE};font-size:85%;opacity:.75"

#: JupyterLab runs a cell at the press of a button that names this command. Elsewhere the button
#: does nothing, and looks like the sentence that it is.
_BACK = (
    "<style>.jp-NotebookPanel .blip2-back{all:revert!important;cursor:pointer!important}</style>"
    '<button type="button" class="blip2-back" style="all:unset" '
    'data-commandlinker-command="notebook:run-cell">'
    "Run this cell to bring the gallery back</button>"
)

#: Before there is anything to show.
EMPTY_PAGE = '<div class="blip2-static"></div>'


def snapshot_html(
    board: Board,
    review_of: ReviewOf | None = None,
    *,
    most_rows: int = 24,
    most_bytes: int = 300_000,
) -> str:
    """The first rows with thumbnails, prompts and answers, and how many more there are; where
    something was searched for, the best.

    Of the first row only the picture is left out where `most_bytes` do not hold it.
    """
    count = len(board)
    left = most_bytes - 3000  # for what stands around the tiles
    tiles: list[str] = []
    rows = range(count) if board.found is None else board.found()
    for row in rows[:most_rows]:
        tile = _tile(board, row, review_of)
        if not tiles and len(tile.encode()) > left:
            tile = _tile(board, row, review_of, pictured=False)
        left -= len(tile.encode())
        if tiles and left < 0:
            break
        tiles.append(tile)
    more = count - len(tiles)
    pictures = "1 picture" if count == 1 else f"{count:,} pictures"
    labels = dict.fromkeys(run.located.checkpoint.label for run in board.runs)
    what = " · ".join([pictures, *map(_text, labels)])
    parts = [
        '<div class="blip2-static" style="text-align:left">',
        f'<p style="{_LINE};margin:4px 0 8px"><b dir="auto">{_text(board.title, _PROMPT)}</b>'
        f' <span style="opacity:.75">· {what}</span></p>',
        f'<table role="list" style="{_TABLE}"><tbody role="none" style="display:contents">',
        *_rows(tiles),
        "</tbody></table>",
        f'<p style="{_LINE};margin:0 0 4px">and {more:,} more</p>' if more else "",
        f'<p style="{_LINE};margin:0">{_BACK}</p>',
        "</div>",
    ]
    return "\n".join(filter(None, parts))


def settled(board: Board, most_rows: int = 24) -> bool:
    """Whether nothing that the page shows is still to come."""
    if any(isinstance(run, Measuring) and not run.has_ended for run in board.runs):
        return False
    rows = map(board.cells, range(min(most_rows, len(board))))
    return all(cell.state not in ("waiting", "running") for row in rows for cell in row)


def _rows(tiles: list[str]) -> list[str]:
    starts = range(0, len(tiles), _TILES_A_ROW)
    return [
        '<tr role="none" style="display:contents">'
        + "\n".join(tiles[start : start + _TILES_A_ROW])
        + "</tr>"
        for start in starts
    ]


def _tile(board: Board, row: int, review_of: ReviewOf | None, *, pictured: bool = True) -> str:
    cells = board.cells(row)
    label = _text(board.column.labels[row], _LABEL)
    unreadable = board.pictures.errors.get(row)
    if unreadable is not None:
        said = [_error(str(unreadable))]
    else:
        named = len(board.prompts) > 1
        said = [
            _cell(cell, prompt.name if named else "", review_of(row, at) if review_of else None)
            + _references(board.references_of(row, at))
            for at, (cell, prompt) in enumerate(zip(cells, board.prompts, strict=True))
            if cell.state != "unasked"
        ]
        said += _numbers(board, row)
    captions = [cell.answer for cell in cells if cell.kind == "caption" and cell.answer]
    alt = captions[0] if captions else board.column.labels[row]
    picture = _picture(board, row, alt) if pictured and unreadable is None else ""
    return (
        f'<td role="listitem" style="{_TILE}"><figure style="margin:0">{picture}'
        f'<figcaption style="text-align:left"><div dir="auto" style="{_FAINT}">{label}</div>'
        f"{''.join(said)}</figcaption></figure></td>"
    )


def _numbers(board: Board, row: int) -> list[str]:
    """What was measured of a row. Scores, which are computed by who looks at them, are not."""
    if board.found is None:
        return []
    found = [(name, board.number(name, row)) for name in board.numbers]
    return [
        f'<div dir="auto" style="{_FAINT};margin-top:4px">{_text(name, _PROMPT)}</div>'
        f'<div style="{_LINE}"><b>{number:.3g}</b></div>'
        for name, number in found
        if number is not None
    ]


def _cell(cell: Cell, name: str, review: Review | None) -> str:
    asked = ": ".join(filter(None, (_text(name, _LABEL), _text(cell.prompt, _PROMPT))))
    question = f'<div dir="auto" style="{_FAINT};margin-top:4px">{asked}</div>' if asked else ""
    if cell.error is not None:
        return question + _error(cell.error)
    if cell.answer is None:
        state = "cancelled" if cell.state == "cancelled" else "no answer yet"
        return f'{question}<div style="{_FAINT}"><i>{state}</i></div>'
    said = cell.answer if review is None or review.text is None else review.text
    answer = _text(said, _ANSWER) or "(an empty answer)"
    return f'{question}<div dir="auto" style="{_LINE}"><b>{answer}</b></div>'


def _references(references: list[tuple[str, int]]) -> str:
    """What is right, beside what was said."""
    if not references:
        return ""
    said = " · ".join(text if count == 1 else f"{text} ×{count}" for text, count in references)
    return f'<div dir="auto" style="{_FAINT}">reference: {_text(said, _ANSWER)}</div>'


def _error(message: str) -> str:
    return f'<div dir="auto" style="{_LINE}">⚠ {_text(message, _ANSWER)}</div>'


def _picture(board: Board, row: int, alt: str) -> str:
    if _is_far(board.column.values[row]):
        return ""  # a page that is saved waits for no network
    try:
        data, mime = still(board.pictures.load(row), _PIXELS)
    except Blip2Error:
        return ""
    source = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return f'<img alt="{_text(alt, _ANSWER)}" src="{source}" style="{_PICTURE}">'


def _is_far(value: object) -> bool:
    if isinstance(value, dict):
        value = None if value.get("bytes") else value.get("path")
    return isinstance(value, str) and value.partition(":")[0].lower() in ("http", "https")


def _text(text: str, most: int = _LABEL) -> str:
    """A text on one line, with nothing in it that HTML or a notebook's JSON cannot hold."""
    line = " ".join(text.split())
    if len(line) > most:
        line = line[: most - 1].rstrip() + "…"
    return escape("".join("\ufffd" if category(each) in ("Cc", "Cs") else each for each in line))
