"""The page: one file that asks for nothing from outside, on a screen of any width and on paper."""

from __future__ import annotations

from collections.abc import Sequence

from paddlenlp_embtune.report._css import STYLE
from paddlenlp_embtune.report._html import Html, escape

__all__ = ["page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Even if markup of somebody's section held a script or an address, no browser would run it or ask for it."""


def page(title: str, lead: str, sections: Sequence[tuple[str, Html]]) -> str:
    """Put sections into a page.

    Args:
        title: of the page.
        lead: a line below it.
        sections: titles, and what stands below each.
    """
    links = "".join(f'<li><a href="#part-{at}">{escape(name)}</a></li>' for at, (name, _) in enumerate(sections, start=1))
    body = "\n".join(
        f'<section id="part-{at}" aria-labelledby="title-{at}"><h2 id="title-{at}">{escape(name)}</h2>\n{content}\n</section>'
        for at, (name, content) in enumerate(sections, start=1)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - embtune report</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(lead)}</p></header>
<nav aria-label="Contents"><ul>{links}</ul></nav>
<main>
{body}
</main>
<footer>Written by embtune report.</footer>
</body>
</html>
"""
