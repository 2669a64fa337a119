"""The style sheet of the page."""

__all__ = ["STYLE"]

STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #d9dfe6; --back: #f5f7fa; --blue: #0b63a5; --red: #b42318; --amber: #8a5a00;
  --green: #0d6b4a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5; overflow-wrap: anywhere;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    sans-serif; }
header, nav, main, footer { max-width: 1160px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 24px; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; }
header p { margin: 4px 0 12px; color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 16px; padding: 0; list-style: none; font-size: 0.875rem; }
nav a { display: block; padding: 3px 10px; border: 1px solid var(--line); border-radius: 999px; background: #fff;
  color: var(--blue); text-decoration: none; }
nav a:hover, nav a:focus { border-color: var(--blue); }
section { margin: 0 0 18px; padding: 16px 20px 20px; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
h2 { margin: 0 0 10px; font-size: 1.25rem; }
h3 { margin: 18px 0 6px; font-size: 1rem; }
p { margin: 6px 0; max-width: 80ch; }
.note, .absent, dt, small { color: var(--soft); }
.note, small, dt { font-size: 0.875rem; }
.absent { padding: 10px 12px; background: var(--back); border-radius: 6px; }
p.look { padding: 8px 12px; border-left: 4px solid #d9a400; background: #fef8e7; }
p.alarm { padding: 8px 12px; border-left: 4px solid var(--red); background: #fdf1f0; }
code, pre { font-size: 0.8125rem;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; }
pre { max-height: 480px; margin: 8px 0 0; padding: 12px; overflow: auto; background: var(--back); white-space: pre-wrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; }
.card { display: flex; flex-direction: column; padding: 10px 14px; border: 1px solid var(--line); border-radius: 6px; }
.card b { font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.findings { margin: 14px 0; padding: 0; list-style: none; }
.findings li { display: flex; gap: 12px; margin: 6px 0; }
.findings li span { min-width: 0; }
.findings li b { flex: 0 0 68px; align-self: flex-start; margin-top: 2px; border-radius: 4px; text-align: center;
  font-size: 0.8125rem; }
.findings .alarm b { background: var(--red); color: #fff; }
.findings .look b { background: #fdeecb; color: var(--amber); }
.findings .fine b { background: #ddf3e8; color: var(--green); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 8px 20px; margin: 12px 0 0; }
dd { margin: 0; }
.figures { display: grid; gap: 20px; }
.figures > * { min-width: 0; }
.figures.two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.figures.three { grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figcaption { font-weight: 600; }
figure svg { display: block; width: 100%; max-width: 620px; height: auto; overflow: visible; }
.wide { width: 860px; }
.wide svg { max-width: none; }
figure svg text { font-family: inherit !important; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow-x: auto; margin: 8px 0; background-attachment: local, scroll; background-repeat: no-repeat;
  background-position: 100% 0; background-size: 40px 100%, 12px 100%;
  background-image: linear-gradient(to left, #fff 50%, #fff0), linear-gradient(to left, #1f293338, #1f293300); }
table { border-collapse: collapse; font-size: 0.9375rem; overflow-wrap: normal; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  unicode-bidi: isolate; }
th { white-space: nowrap; }
td:not(.number) { min-width: 7.5em; }
.stack td:not(.number) { min-width: 4.5em; }
th { color: var(--soft); font-size: 0.8125rem; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: inline-block; width: 72px; height: 10px; margin-left: 4px; border-radius: 5px;
  background: #e4e7eb; overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--blue); }
.chip { display: inline-block; margin: 1px 0; padding: 0 6px; border: 1px solid var(--line); border-radius: 4px;
  unicode-bidi: isolate; }
.chip.gone { border-color: #e3b3ae; background: #fdf1f0; color: var(--red); }
.chip.gone::before { content: "\\2212\\2009"; }
.chip.new { border-color: #9fd3ba; background: #e6f6ee; color: var(--green); }
.chip.new::before { content: "+\\2009"; }
.examples { margin: 8px 0; padding-left: 30px; }
.examples li { margin: 0 0 10px; break-inside: avoid; }
.examples p { margin: 0; unicode-bidi: isolate; white-space: pre-line; }
.right, .wrong { font-size: 0.875rem; font-weight: 600; }
.right { color: var(--green); }
.wrong { color: var(--red); }
details { margin: 10px 0 0; }
summary { color: var(--blue); cursor: pointer; }
footer { padding-bottom: 24px; color: var(--soft); font-size: 0.8125rem; }
@media (max-width: 640px) {
  header, nav, main, footer { padding-left: 8px; padding-right: 8px; }
  section { padding: 12px 12px 16px; }
  .cards { grid-template-columns: repeat(2, 1fr); }
  .card { padding: 8px 10px; }
  .findings li { gap: 8px; }
  dl { grid-template-columns: 1fr 1fr; gap: 8px 12px; }
  table.stack, .stack tbody, .stack tr, .stack td { display: block; }
  .stack thead { display: none; }
  .stack tr { padding: 8px 0; border-bottom: 1px solid var(--line); }
  .stack td:not(.number) { min-width: 0; }
  .stack td { padding: 1px 0; border: 0; text-align: left; }
  .stack td::before { content: attr(data-label) ": "; color: var(--soft); font-size: 0.8125rem; }
  .stack td.number { display: inline-block; margin-right: 14px; }
  .bar { width: 40px; }
  .stack td:first-child { font-weight: 600; font-size: 1.0625rem; }
  .stack td:first-child::before { content: none; }
}
@media print {
  @page { margin: 14mm; }
  body { background: #fff; font-size: 10pt; }
  header, nav, main, footer { max-width: none; padding: 0; }
  nav { display: none; }
  section { padding: 0 0 8px; border: 0; border-top: 1px solid var(--line); border-radius: 0; }
  h2, h3, summary { break-after: avoid; }
  tr, .card, .findings li { break-inside: avoid; }
  .wide { width: 100%; }
  .scroll, pre { overflow: visible; max-height: none; background-image: none; }
  .cards { grid-template-columns: repeat(6, 1fr); gap: 6px; }
  .card { padding: 6px 8px; }
  .card b { font-size: 1.125rem; }
  table { font-size: 8.5pt; }
  th, td { padding: 3px 6px; min-width: 0 !important; white-space: normal; }
  .number { white-space: normal; }
  .bar { display: none; }
  .figures.two { grid-template-columns: 1fr 1fr; }
  .figures.three { grid-template-columns: 1fr 1fr 1fr; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
