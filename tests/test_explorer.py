"""The explorer as a page, through Voilà, driven in headless Chromium as a listener would."""
import socket

import numpy as np
import pytest
import soundfile as sf
from conftest import CHROMIUM, CHROMIUM_ARGS, ROOT, free_port, served

pytestmark = pytest.mark.skipif(not CHROMIUM,
                                reason="chromium is missing: apt-get install chromium")


@pytest.fixture
def address(tmp_path):
    """The address of the page, served on this machine alone."""
    port = free_port()
    homes = {f"JUPYTER_{n}_DIR": str(tmp_path / n) for n in ("CONFIG", "RUNTIME")}
    command = ["voila", "explorer.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    def ready():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    with served(command, ROOT / "tools", tmp_path / "voila.log", ready, **homes):
        yield f"http://127.0.0.1:{port}"


DURATIONS = """audios => Promise.all(audios.map(a => a.readyState ? a.duration
    : new Promise((done, fail) => {
        a.onloadedmetadata = () => done(a.duration);
        a.onerror = () => fail(a.error.message);
        a.load(); })))"""


CUT_OFF = """() => [document.documentElement, ...document.querySelectorAll(
    ".widget-label, .widget-readout, .widget-html-content, button, select")]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""


def test_a_slider_a_transfer_a_cancel_an_upload(address, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page, errors = browser.new_page(viewport={"width": 1280, "height": 900}), []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.set_default_timeout(60_000)
        def elsewhere(url):  # Voilà asks a network for icons
            return not url.startswith((address, "blob:"))
        page.route(elsewhere, lambda route: route.fulfill(body=""))
        page.goto(address)
        players = page.locator("audio")
        page.get_by_role("button", name="play").wait_for()
        playwright.expect(players).to_have_count(3)  # content, style, twin
        content, style, twin = players.evaluate_all(DURATIONS)
        assert content == twin > style > 2.9

        readout = page.locator(".widget-slider", has_text="steps").locator(".widget-readout")
        page.locator(".widget-slider", has_text="steps").locator(".noUi-handle").press("ArrowRight")
        playwright.expect(readout).to_have_text("5")
        page.get_by_role("button", name="play").click()
        page.get_by_text("times real time").wait_for()
        playwright.expect(players).to_have_count(4)
        assert players.evaluate_all(DURATIONS) == [content, style, content, twin]
        players.evaluate_all("audios => audios.forEach(a => { a.playbackRate = .1; })")  # no end
        players.first.evaluate("""(a, at) => { a.currentTime = at; return a.play(); }""", 2)
        for after, before in ((2, 0), (0, 2)):  # the key goes to the result, and back
            page.keyboard.press("t")
            playing, paused = page.locator("audio").nth(after), page.locator("audio").nth(before)
            playwright.expect(playing).to_have_js_property("paused", False)
            playwright.expect(paused).to_have_js_property("paused", True)
            times = [a.evaluate("a => a.currentTime") for a in (playing, paused)]
            assert 2 <= times[1] <= times[0] + .05 and times[0] < content
        players.first.evaluate("a => a.pause()")
        with page.expect_download() as download:
            page.get_by_text("save as a file").click()
        assert download.value.suggested_filename.endswith("as violin.flac")
        saved = sf.info(download.value.path())
        assert saved.duration == pytest.approx(content, abs=.01)
        for width in (1400, 800):  # nothing is cut off, all in a row
            page.set_viewport_size({"width": width, "height": 1000})
            page.screenshot(path=tmp_path / f"explorer_{width}.png", full_page=True)
            assert page.evaluate(CUT_OFF) == []
            places = players.evaluate_all("audios => audios.map(a => a.getBoundingClientRect().x)")
            assert len(set(places)) == 4 and places == sorted(places)

        sound = (.1 * np.sin(2 * np.pi * 440 * np.arange(60 * 44_100) / 44_100)).astype(np.float32)
        sf.write(tmp_path / "my tone.wav", sound, 44_100, "DOUBLE")  # 21 MB
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="own content").click()
        chooser.value.set_files(tmp_path / "my tone.wav")
        page.locator("select").first.locator("option", has_text="my tone.wav").wait_for(
            state="attached"
        )
        playwright.expect(players).to_have_count(3)  # content, style and what is kept, no twin
        assert players.evaluate_all(DURATIONS)[0] == pytest.approx(60, abs=.01)
        playwright.expect(page.get_by_text("made in")).to_be_visible()  # stays with what is kept
        with page.expect_download() as download:
            page.get_by_text("save as a file").click()
        assert sf.info(download.value.path()).duration == pytest.approx(content, abs=.01)
        for _ in range(8):
            page.locator(".widget-slider", has_text="steps").locator(".noUi-handle").press("PageUp")
        page.get_by_role("button", name="play").click()
        page.get_by_role("button", name="cancel").click()
        page.get_by_text("cancelled").wait_for()
        playwright.expect(players).to_have_count(3)
        browser.close()
    assert not errors, errors
