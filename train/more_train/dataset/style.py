"""How the report looks, by day and by night."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #5d6870; --line: #dfe3e6; --card: #f6f7f8; --page: #fff;
  --kept: #2f7d6b; --refused: #c8553d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaec; --soft: #9aa5ad; --line: #343b40; --card: #1f2427;
  --page: #16191b; --kept: #5fb8a2; --refused: #e58a74; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 8px; }
header p, .legend, section > p { color: var(--soft); margin: 0 0 8px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; margin: 20px 0 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.tiles b { display: block; font-size: 20px; font-weight: 600; white-space: nowrap; }
.tiles span { color: var(--soft); font-size: 13px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 14px; }
@media (max-width: 460px) { .plots { grid-template-columns: 1fr; } }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; background: var(--card); }
figcaption { font-weight: 600; margin-bottom: 4px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .grid { stroke: var(--line); }
.kept { fill: var(--kept); } .refused { fill: var(--refused); }
circle { fill-opacity: .55; }
figure.wide { grid-column: 1 / -1; }
.columns { columns: 260px 3; column-gap: 36px; }
.columns table, .columns tbody { display: block; }
.columns tr { display: flex; justify-content: space-between; break-inside: avoid;
  border-bottom: 1px solid var(--line); }
.columns td { border: 0; padding: 4px 0; }
.facts { color: var(--soft); font-size: 13px; white-space: nowrap; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 5px 0 10px; }
.legend i.kept { background: var(--kept); margin-left: 0; } .legend i.refused { background: var(--refused); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td:last-child { padding-right: 0; }
td em { color: var(--refused); font-style: normal; font-size: 13px; }
td audio { width: 230px; height: 34px; display: block; }
summary { cursor: pointer; color: var(--soft); }
ul { margin: 0; padding-left: 20px; }
@media (max-width: 640px) { td:has(audio) { display: block; border: 0; padding-bottom: 0; } }
"""
