"""The listening page, built small and opened from disk in headless Chromium: its players load, its
notebooks read well."""
from pathlib import Path

import pytest
from conftest import CHROMIUM, CHROMIUM_ARGS
from test_explorer import DURATIONS

pytestmark = pytest.mark.skipif(not CHROMIUM,
                                reason="chromium is missing: apt-get install chromium")


def test_opens_from_disk(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    import gallery  # which imports much
    gallery.main("smoke", site := tmp_path / "site")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page, errors = browser.new_page(viewport={"width": 1280, "height": 900}), []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto((site / "index.html").as_uri())
        page.screenshot(path=tmp_path / "site.png")
        left_out = page.get_by_text("Preset report is left out").count()
        sample = page.locator("#sample audio").evaluate_all(DURATIONS)
        assert len(sample) == 4 and min(sample) > 8
        sections = page.locator("section:not(#blind)")
        assert sections.count() == 12  # one for each ordered pair
        for section in sections.all():
            content, style, *others = section.locator("audio").evaluate_all(DURATIONS)
            # result, three rows of the rulers, twin; where it was trained, preset report
            assert len(others) == 6 - left_out
            assert {content, style, *others} == {content} and content > 2.9
            assert all(
                section.locator("img").evaluate_all(
                    "imgs => imgs.map(i => i.complete && i.naturalWidth > 0)"
                )
            )
        one, other = page.locator("#blind audio").evaluate_all(DURATIONS)
        assert one == other > 5
        page.locator("#blind .say").first.click()
        assert " of 1 right" in page.locator("#score").inner_text()
        trials = page.evaluate("TRIALS")
        named = {trial[role] for trial in trials for role in ("result", "twin")}  # some twins twice
        assert len(trials) == 12 and len({trial["result"] for trial in trials}) == 12
        assert {f"blind/{path.name}" for path in (site / "blind").iterdir()} == named
        formulas = {}
        for link in [a.get_attribute("href") for a in page.locator("nav a").all()]:
            page.goto((site / link).as_uri())
            assert page.locator("h1").first.inner_text()
            formulas[Path(link).stem] = page.locator("math").count()
        assert min(formulas["04_ldm"], formulas["06_evaluate"], formulas["07_ddim"]) > 5
        page.screenshot(path=tmp_path / "notebook.png")
        assert len(list((site / "notebooks").glob("*.css"))) == 1  # the looks of all of them
        browser.close()
    assert not errors, errors


def test_what_is_no_site_is_never_deleted(tmp_path):
    import gallery
    (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / "index.html").write_text("<title>mine</title>")
    with pytest.raises(SystemExit, match="was not made by this command"):
        gallery.main("smoke", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", "index.html"}
    gallery.check_site(tmp_path / "new")
    (tmp_path / "index.html").write_text(gallery.TITLE)  # of ours it may take the place
    gallery.check_site(tmp_path)
