"""Runbooks as pages of the console, so that the link in a message opens one: `/runbooks/RULE`, in each language."""

from __future__ import annotations

import html
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt

from alerts.runbooks import Runbooks
from dashboard.preferences import preferred
from dashboard.threads import reading
from dashboard.words import NAMES, say
from dashboard.words import language as spoken
from domain.languages import LANGUAGES, Language

_PAGE = """<!doctype html>
<html lang="{language}" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/console.css">
<style>
html, body {{ height: auto; }}
main {{ max-width: 46em; margin: 0 auto; padding: 16px; font-size: 16px; line-height: 1.55; }}
main h1 {{ font-size: 22px; margin: 12px 0; }}
main h2 {{ font-size: 16px; margin: 20px 0 6px; color: var(--soft); }}
main p, main li {{ margin: 6px 0; }}
main code {{ background: var(--raised); padding: 1px 4px; border-radius: 3px; }}
h2.first + p {{ border-left: 4px solid var(--amber); padding-left: 12px; font-size: 18px; }}
nav a {{ margin-right: 16px; }}
</style>
</head>
<body><main><nav>{links}</nav>{body}</main></body>
</html>
"""


def runbook_router(runbooks: Runbooks) -> APIRouter:
    """Return the routes of the list of runbooks and of each; mount them behind the console's guard."""
    router = APIRouter(include_in_schema=False)
    # html: false is what keeps a site's own runbook from running scripts
    markdown = MarkdownIt("commonmark", {"html": False})

    @router.get("/runbooks")
    async def listed() -> HTMLResponse:
        names = await reading(runbooks.names)
        rows = [f'<li><a href="/runbooks/{quote(name)}">{html.escape(name)}</a></li>' for name in names]
        return _answer(
            spoken(),
            say("runbooks.title"),
            f'<a href="/">{say("runbooks.console")}</a>',
            f"<h1>{say('runbooks.title')}</h1><ul>{''.join(rows)}</ul>",
        )

    @router.get("/runbooks/{rule}")
    async def one(rule: str, lang: str = "") -> HTMLResponse:
        language: Language = next((known for known in LANGUAGES if known == lang), spoken())
        found = await reading(runbooks.find, rule, language)
        if found is None:
            body = f"<h1>{say('runbooks.none')}</h1><p>{html.escape(say('runbooks.none_for', rule=rule[:100]))}</p>"
            back = f'<a href="/runbooks">{say("runbooks.title")}</a>'
            return _answer(spoken(), say("runbooks.none"), back, body, 404)
        others = [
            f'<a href="?lang={other}" lang="{other}" hreflang="{other}">{name}</a>'
            for other, name in NAMES.items()
            if other != language
        ]
        back = f'<a href="/">{say("runbooks.console")}</a><a href="/runbooks">{say("runbooks.title")}</a>'
        links = "".join([back, *others])
        body = (
            markdown.render(found.text)
            .replace("<h2>", '<h2 class="first">', 2)
            .replace('<h2 class="first">', "<h2>", 1)
        )
        return _answer(language, found.title or rule, links, body)

    return router


def _answer(language: str, title: str, links: str, body: str, status: int = 200) -> HTMLResponse:
    page = _PAGE.format(
        language=language, theme=preferred().theme, title=html.escape(title), links=links, body=body
    )
    return HTMLResponse(page, status_code=status)
