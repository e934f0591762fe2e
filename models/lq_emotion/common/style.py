"""The style of the page: light or dark as the reader's system is, and on paper."""

STYLE = """\
:root {
  --paper: #fdfdfb; --ink: #1c1d1f; --soft: #5c6167; --line: #d8d9d6; --rule: #1c1d1f; --link: #1f5fa8;
  --band: #f1f2ee; --warn: #fff1d6; --warn-line: #c77700;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17191c; --ink: #e4e5e3; --soft: #9ea3a8; --line: #383c41; --rule: #b9bcbf; --link: #86b7ee;
    --band: #202327; --warn: #3a2c10; --warn-line: #e0a030;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.55 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, "DejaVu Serif", Georgia, serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 {
  font-size: 1.35rem; line-height: 1.3; margin: 3.2rem 0 .9rem; padding-top: .6rem; border-top: 1px solid var(--line);
}
p { max-width: 44rem; margin: .7rem 0; overflow-wrap: break-word; }
a { color: var(--link); }
code { font: .86em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
p.note { color: var(--soft); border-left: 3px solid var(--line); padding-left: .8rem; font-style: italic; }
p.warning { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .7rem .9rem; font-weight: 600; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: 1.2rem 0 0; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.table { overflow-x: auto; margin: 1.4rem 0 1.8rem; }
table {
  border-collapse: collapse; min-width: min(100%, 38rem);
  font: .84rem/1.35 system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif;
}
caption {
  text-align: left; caption-side: top; padding: 0 0 .55rem; color: var(--ink);
  position: sticky; left: 0; max-width: min(44rem, 100vw - 2.5rem);
  font: .94rem/1.45 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, "DejaVu Serif", Georgia, serif;
}
thead { border-top: 2px solid var(--rule); border-bottom: 1px solid var(--rule); }
tbody:last-child { border-bottom: 2px solid var(--rule); }
th, td { padding: .26rem .6rem; text-align: left; vertical-align: top; font-weight: normal; }
thead th { font-weight: 600; vertical-align: bottom; }
thead th.group { text-align: center; border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums lining-nums; }
th.starts, td.starts { padding-left: 1.3rem; }
td.faint { color: var(--soft); }
tr.over th { font-weight: 600; background: var(--band); border-top: 1px solid var(--line); padding-top: .38rem; }
tbody tr:not(.over):hover { background: var(--band); }
figure { margin: 1.6rem 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (prefers-color-scheme: dark) { figure img { padding: 6px; filter: brightness(.92); } }
figcaption { max-width: 44rem; margin-top: .6rem; font-size: .94rem; line-height: 1.45; }
@media (max-width: 40rem) {
  body { font-size: 16px; }
  main { padding: 1.4rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  table { font-size: .76rem; }
  th, td { padding: .24rem .42rem; }
  th.starts, td.starts { padding-left: .8rem; }
}
@media print {
  :root {
    --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --rule: #000; --link: #000;
    --band: #f2f2f2; --warn: #fff; --warn-line: #000;
  }
  @page { margin: 16mm; }
  html { font-size: 13px; }
  body { font-size: 1rem; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  .table { overflow: visible; break-inside: avoid; }
  table { font-size: 8pt; }
  th, td { padding: .12rem .34rem; }
  h2, caption { break-after: avoid; }
  figure, tr, p.warning { break-inside: avoid; }
  thead { display: table-header-group; }
  figure img { max-height: 220mm; width: auto; padding: 0; filter: none; }
}
"""
