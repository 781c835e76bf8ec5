"""The HTML page of a tab: textual-serve's terminal, with nothing loaded from other sites.

The page that comes with textual-serve loads a font from another site, and has inline scripts that a strict content
policy forbids.
"""

from __future__ import annotations

from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<script src="/static/js/textual.js"></script>
<script src="/start.js"></script>
<style>
@font-face {{
  font-family: 'Roboto Mono';
  src: url(/static/fonts/RobotoMono-VariableFont_wght.ttf);
  font-weight: 100 700;
}}
html, body {{ height: 100%; margin: 0; overflow: hidden; background: #000; color: #ccc; }}
body {{ font-family: 'Roboto Mono', monospace; }}
.textual-terminal {{ position: absolute; inset: 0; }}
p {{ position: absolute; inset: 0; margin: 0; display: flex; align-items: center; justify-content: center; }}
p, a {{ color: inherit; }}
.first {{ font-weight: 700; }}
.over {{ display: none; gap: 1ch; z-index: 1; background: #000; }}
body.-first-byte .first {{ display: none; }}
body.-closed .over {{ display: flex; }}
</style>
</head>
<body>
<p class="first">{title}</p>
<div class="textual-terminal" data-session-websocket-url="ws://{host}/ws" data-font-size="{size}"></div>
<p class="over">This tab has ended; the session goes on. <a href="/">Attach again</a></p>
</body>
</html>
"""
#: Focus the terminal at once, so that keys work without a click.
START = "addEventListener('load', () => document.querySelector('.xterm-helper-textarea')?.focus())\n"
SIZES = range(6, 41)
_SIZE = 14


def page(title: str, host: str, size: str) -> str:
    """The page for a Host header; `size` is the font size in pixels."""
    pixels = int(size) if size.isdecimal() and len(size) < 3 and int(size) in SIZES else _SIZE
    return _PAGE.format(title=escape(title), host=escape(host), size=pixels)
