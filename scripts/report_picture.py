#!/usr/bin/env python3
"""Makes docs/report.png, the picture with numbered notes in the README, from the report of results/example.

    scripts/report_picture.py

Needs Chromium and Pillow. Make it again when results/example or the looks of the report change. README.md says what the
numbers mean.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 1060, 1152

STYLE = """
html { border: 1px solid #d0d7de; }
body { max-width: none; padding: 1rem 1.4rem; }
main > section + section { margin-top: 1.2rem; padding-top: 1.1rem; }
.mark { position: absolute; width: 22px; height: 22px; border-radius: 50%; background: #b3261e; color: #fff;
        font: 700 13px/22px sans-serif; text-align: center; }
[data-mark] { position: relative; }
"""

# Keeps three findings and the first rows of two tables; the marks sit on what the README explains.
CUT = """
const one = (selector, within = document) => within.querySelector(selector);
const withText = (selector, text) => [...document.querySelectorAll(selector)].find(e => e.textContent.includes(text));
const mark = (element, number, left, top) => {
  const mark = document.createElement("span");
  element.dataset.mark = number;
  mark.className = "mark";
  mark.textContent = number;
  mark.style.left = left + "px";
  mark.style.top = top + "px";
  element.append(mark);
};
const keepRows = (figure, count) => [...one("tbody", figure).rows].slice(count).forEach(row => row.remove());
const drop = elements => [...elements].forEach(e => e.remove());
const law = withText("article", "Prefill on"), steady = withText("article", "steady");
const placed = withText("article", "run where it should");
const medians = one("#medians figure"), sessions = withText("#measured figure", "Where each session ran");
drop([...document.querySelectorAll("article")].filter(e => ![law, steady, placed].includes(e)));
drop([...document.querySelectorAll("main > section")].filter(e => !e.matches(".verdict, #medians, #measured")));
drop([...document.querySelectorAll("#measured > :not(h2)")].filter(e => e !== sessions));
drop(document.querySelectorAll("nav, #medians > p, #medians figcaption"));
keepRows(medians, 3);
keepRows(sessions, 2);
document.querySelectorAll(".scroll").forEach(e => { e.style.overflow = "visible"; });
mark(withText(".facts div", "calls"), 1, 42, 0);
mark(law, 2, 306, -10);
mark(one("strong", law), 3, -22, 0);
mark(placed, 4, 306, -10);
mark(one("tbody tr th", medians), 5, -22, 7);
mark(withText("#medians th", "location"), 6, 62, 4);
mark(one("figcaption", sessions), 7, -22, 0);
"""


def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    sys.exit("no Chromium; try: apt install chromium")


def main() -> None:
    page = (ROOT / "results/example/report.html").read_text()
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    page = page.replace("</head>", f"<style>{STYLE}</style></head>", 1) + f"<script>{CUT}</script>"
    with tempfile.TemporaryDirectory() as work:
        copy = pathlib.Path(work, "page.html")
        copy.write_text(page)
        picture = pathlib.Path(work, "page.png")
        subprocess.run(
            [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={work}"]
            + [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", copy.as_uri()],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        # A page of few colours: a palette makes the file a third of the size.
        Image.open(picture).convert("RGB").quantize(64).save(ROOT / "docs/report.png", optimize=True)


main()
