"""The style sheet of report.html; colours by role, light and dark."""

STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --faint: #667085; --line: #d9dee7; --page: #fff; --card: #f6f8fb;
  --first: #2563a8; --second: #c4681a; --reference: #8b95a5; --good: #19703f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ef; --faint: #9aa4b5; --line: #343c4a; --page: #14181f;
  --card: #1c222c; --first: #6ea8e8; --second: #f0a35e; --reference: #7b8698; --good: #6fcf97; --bad: #f28b82; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 34px 0 10px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
h3 { font-size: 1rem; margin: 16px 0 4px; }
small, .about { color: var(--faint); }
.about b, .about i { color: var(--text); }
.verdict { font-weight: 600; }
.summary { list-style: none; margin: 8px 0; padding: 0; }
.summary li { display: flex; gap: 10px; padding: 5px 0; }
.summary li span { flex: none; width: 1.1em; text-align: center; font-weight: 700; color: var(--faint); }
.summary .good span { color: var(--good); } .summary .bad span { color: var(--bad); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; color: var(--faint); width: 38%; }
td { font-variant-numeric: tabular-nums; } td.lost { color: var(--bad); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 18px; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: 12px; }
figcaption { color: var(--faint); font-size: .9em; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: var(--faint); } svg .name { font-size: 12px; fill: var(--text); }
.grid { stroke: var(--line); stroke-width: 1; } .mark { stroke: var(--text); stroke-dasharray: 4 4; opacity: .6; }
rect.first, circle.first { fill: var(--first); fill-opacity: .8; }
rect.second, circle.second { fill: var(--second); fill-opacity: .8; }
rect.reference { fill: var(--reference); fill-opacity: .7; }
.chip { display: inline-block; width: .75em; height: .75em; border-radius: 3px; margin-right: .45em; }
.chip.first { background: var(--first); } .chip.second { background: var(--second); }
.chip.reference { background: var(--reference); }
article { background: var(--card); border-radius: 8px; padding: 10px 14px; margin: 10px 0; }
article p { margin: 0 0 6px; }
.sounds { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px; font-size: .9em; }
audio { display: block; width: 100%; height: 36px; margin-top: 4px; }
details { margin: 18px 0; } summary { cursor: pointer; color: var(--first); }
"""
