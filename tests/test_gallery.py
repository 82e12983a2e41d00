"""The listening page, built small and opened from disk in headless Chromium: its players load, its
notebooks read well."""
import sys
from pathlib import Path

import pytest
from conftest import CHROMIUM, CHROMIUM_ARGS, run
from test_explorer import DURATIONS

pytestmark = pytest.mark.skipif(not CHROMIUM,
                                reason="chromium is missing: apt-get install chromium")


def test_opens_from_disk(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    site = tmp_path / "site"
    result = run([sys.executable, "tools/gallery.py", "smoke", site])
    assert result.returncode == 0, result.stderr
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page, errors = browser.new_page(viewport={"width": 1280, "height": 900}), []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto((site / "index.html").as_uri())
        page.screenshot(path=tmp_path / "site.png")
        sections = page.locator("section")
        assert sections.count() == 12
        for section in sections.all():
            content, style, *_, output, twin = section.locator("audio").evaluate_all(DURATIONS)
            assert content == twin == output > style > 2.9
            assert all(
                section.locator("img").evaluate_all(
                    "imgs => imgs.map(i => i.complete && i.naturalWidth > 0)"
                )
            )
        formulas = {}
        for link in [a.get_attribute("href") for a in page.locator("nav a").all()]:
            page.goto((site / link).as_uri())
            assert page.locator("h1").first.inner_text()
            formulas[Path(link).stem] = page.locator("math").count()
        assert min(formulas["04_ldm"], formulas["06_evaluate"], formulas["07_ddim"]) > 5
        page.screenshot(path=tmp_path / "notebook.png")
        browser.close()
    assert not errors, errors
