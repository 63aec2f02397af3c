"""The page's style: one column, light and dark, phone to paper. No script, no font, nothing loaded."""

CSS = """
:root{color-scheme:light dark;--paper:#fdfcfa;--ink:#1d2330;--soft:#5a6373;--line:#dfe1e6;--panel:#f3f2ee;
--before:#8a93a5;--after:#0f766e;--baseline:#b45309;--warn-paper:#fff4dc;--warn-line:#d99a1c;--mark:#0f766e22}
@media (prefers-color-scheme:dark){:root{--paper:#14171d;--ink:#e7e9ee;--soft:#a3abba;--line:#323845;--panel:#1c2129;
--before:#8791a5;--after:#3cc4b4;--baseline:#e2a04a;--warn-paper:#33280f;--warn-line:#b98a2c;--mark:#3cc4b433}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main,header,footer{max-width:62rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2.5rem}
h1{font-size:clamp(1.6rem,4.5vw,2.3rem);line-height:1.15;letter-spacing:-.02em;margin:0 0 .4rem;text-wrap:balance}
h2{font-size:1.35rem;letter-spacing:-.01em;margin:3rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .4rem}
p{margin:.4rem 0 1rem;max-width:46rem}
.soft,caption,figcaption,small{color:var(--soft)}
.lead{font-size:1.12rem}
.warning{background:var(--warn-paper);border-left:4px solid var(--warn-line);padding:.8rem 1rem;margin:1.2rem 0;
max-width:none;border-radius:0 6px 6px 0}
.warning p{margin:0;max-width:none}.warning p+p{margin-top:.5rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.7rem;margin:1.4rem 0 0;padding:0}
.tile{background:var(--panel);border-radius:8px;padding:.7rem .85rem;margin:0}
.tile dt{color:var(--soft);font-size:.85rem}
.tile dd{margin:.1rem 0 0;font-size:1.2rem;font-weight:650;letter-spacing:-.02em;white-space:nowrap}
.tile dd small{display:block;white-space:normal;font-size:.82rem;font-weight:400;letter-spacing:0;line-height:1.35}
.scroll{overflow-x:auto;margin:1rem 0;-webkit-overflow-scrolling:touch}
.scroll:focus-visible{outline:2px solid var(--after);outline-offset:3px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.93rem}
caption{text-align:left;padding:0 0 .5rem;font-size:.9rem;caption-side:top}
caption span{display:block;max-width:min(46rem,calc(100vw - 2.5rem));position:sticky;left:0}
th,td{padding:.34rem .55rem;text-align:right;vertical-align:middle;border-bottom:1px solid var(--line);
white-space:nowrap}
th:first-child{padding-left:0}
thead th{white-space:normal;font-size:.83rem;font-weight:600;color:var(--soft);vertical-align:bottom}
tbody th,.text{text-align:left}
tbody th{font-weight:600}
tfoot th,tfoot td{font-weight:650;border-top:2px solid var(--line);border-bottom:0}
tfoot th{text-align:left}
td small{display:inline-block;min-width:3.4rem;font-size:.8rem}
td.wide{width:40%;min-width:7.5rem}
tr.after td,tr.after th{font-weight:600}tr.after td small{font-weight:400}
tr.baseline td{color:var(--soft)}
tbody.group tr:not(:last-child) td{border-bottom-color:transparent}
tbody.group th{vertical-align:top}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.88rem;color:var(--soft);margin:.6rem 0;
padding:0;list-style:none}
.key li::before{content:"";display:inline-block;width:.75rem;height:.75rem;border-radius:3px;margin-right:.4rem;
vertical-align:-1px;background:var(--c)}
.k-before{--c:var(--before)}.k-after{--c:var(--after)}.k-baseline{--c:var(--baseline)}
svg{display:block;overflow:visible;width:100%}
.f-before{fill:var(--before)}.f-after{fill:var(--after)}.f-baseline{fill:var(--baseline)}.f-panel{fill:var(--panel)}
.s-before{stroke:var(--before)}.s-after{stroke:var(--after)}.s-baseline{stroke:var(--baseline)}
.grid{stroke:var(--line)}.chance{stroke:var(--soft);stroke-dasharray:3 3}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.6rem 2.2rem;margin:1rem 0}
figure{margin:0;break-inside:avoid}
figcaption{font-size:.88rem;margin-top:.35rem}
.rows{display:grid;grid-template-columns:max-content 1fr;gap:0 .9rem;align-items:center;font-size:.9rem}
.rows>span{white-space:nowrap}
.axis{position:relative;white-space:nowrap;height:1.3rem;font-size:.78rem;color:var(--soft)}
.axis i{position:absolute;transform:translateX(-50%);font-style:normal}
.axis i:first-child{transform:translateX(-.2rem)}.axis i:last-child{transform:translateX(-100%)}
.plot{position:relative;padding-left:2.9rem}
.plot .y{position:absolute;left:0;width:2.5rem;text-align:right;font-size:.78rem;color:var(--soft);
transform:translateY(-50%)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1.5rem;margin:1rem 0}
.faces{display:grid;grid-template-columns:repeat(3,1fr);gap:.45rem;list-style:none;margin:0;padding:0}
.faces img,.answer img{display:block;width:100%;height:auto;border-radius:6px;background:var(--panel)}
.card{break-inside:avoid}
.answer{display:grid;grid-template-columns:minmax(10rem,16rem) 1fr;gap:1.6rem;align-items:start;margin:1rem 0}
.answer.alone{grid-template-columns:1fr}
.yes{color:var(--after);font-weight:650}
dl.terms{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.2rem;margin:1rem 0;max-width:50rem}
dl.terms dt{font-weight:600}dl.terms dd{margin:0}
footer{margin-top:3rem;padding-top:1rem;padding-bottom:3rem;color:var(--soft);font-size:.85rem}
footer p{max-width:none;overflow-wrap:anywhere}
@media (max-width:40rem){.answer{grid-template-columns:1fr}.answer img{max-width:15rem}
dl.terms{grid-template-columns:1fr;gap:0}dl.terms dd{margin:0 0 .7rem}th,td{padding:.34rem .4rem}
tbody th,tfoot th{position:sticky;left:0;background:var(--paper)}td small{display:block;min-width:0;line-height:1.2}
td.wide{min-width:4.5rem}h2{margin-top:2.2rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--panel:#f2f2f2;--before:#8a93a5;
--after:#0f766e;--baseline:#b45309;--warn-paper:#fff;--warn-line:#888}body{font-size:10.5pt}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}main,header,footer{max-width:none;padding:0}
h2{break-after:avoid}tr,.tile,.card{break-inside:avoid}.scroll{overflow:visible}td.wide{min-width:4rem}}
"""
"""One style sheet; the colours are variables, so that dark mode and print change only those."""
