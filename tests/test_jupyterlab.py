"""A notebook runs from top to bottom in JupyterLab, and the explorer's key works there, driven in
headless Chromium as a reader would."""
import secrets
import time
import urllib.request
from urllib.error import URLError

import nbformat
import pytest
from conftest import CHROMIUM, CHROMIUM_ARGS, copy_project, free_port, served

NOTEBOOK, LIMIT = "nbs/01_training.ipynb", 300  # a light one; seconds
pytestmark = pytest.mark.skipif(not CHROMIUM,
                                reason="chromium is missing: apt-get install chromium")


@pytest.fixture
def lab(tmp_path):
    """A copy of the project, and a function from its notebooks to their addresses, with a token,
    in a JupyterLab."""
    project = copy_project(tmp_path / "project")
    port, token = free_port(), secrets.token_hex(16)
    homes = {f"JUPYTER_{n}_DIR": str(tmp_path / n) for n in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s"),
              "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w")}
    command = ["jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
               f"--ServerApp.root_dir={project}",
               "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    url = f"http://127.0.0.1:{port}"
    def ready():
        try:
            urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=5).close()
            return True
        except (URLError, OSError):
            return False
    with served(command, project, tmp_path / "lab.log", ready, **homes):
        yield project, lambda notebook: f"{url}/lab/tree/{notebook}?token={token}&reset"


def test_run_all_cells(lab, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    project, address = lab
    path = project / NOTEBOOK
    expected = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address(NOTEBOOK))
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Edit", exact=True).click()
        page.get_by_role("menuitem", name="Clear Outputs of All Cells").click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        deadline = time.monotonic() + LIMIT
        # cells out of sight are not in the page: ask the saved notebook
        while time.monotonic() < deadline:
            page.wait_for_timeout(2000)
            page.keyboard.press("Control+s")
            page.wait_for_timeout(500)
            try:
                cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
            except nbformat.reader.NotJSONError:  # it is being saved this moment
                continue
            idle = page.get_by_text("Python 3 (ipykernel) | Idle").count()
            if idle and (cells[-1].execution_count
                         or any(o.output_type == "error" for c in cells for o in c.outputs)):
                break
        page.screenshot(path=tmp_path / "lab.png")
        browser.close()
    errors = [f"{o.ename}: {o.evalue}" for c in cells for o in c.outputs
              if o.output_type == "error"]
    assert not errors, errors
    assert [c.source for c in cells] == expected
    counts = [c.execution_count for c in cells if c.source.strip()]
    assert counts == list(range(1, len(counts) + 1)), counts
    assert any(c.outputs for c in cells)


PANEL = """
import numpy as np
import soundfile as sf
from mst.explorer import Explorer

time = np.arange(4 * 22_050) / 22_050
sf.write("tone.wav", .1 * np.sin(2 * np.pi * 440 * time) * np.exp(-time % .5), 22_050)
Explorer({"a tone": "tone.wav"})
"""


def test_the_key_goes_from_before_to_after(lab, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    project, address = lab
    cells = [nbformat.v4.new_code_cell(source) for source in (PANEL.strip(), "# here one writes")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel),
                   project / "nbs" / "panel.ipynb")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address("nbs/panel.ipynb"))
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        content, result = (page.locator(f".mst-{view} audio") for view in ("content", "result"))
        content.wait_for()
        page.get_by_role("button", name="play", exact=True).click()
        page.get_by_text("times real time").wait_for()
        result.wait_for()
        for player in (content, result):
            player.evaluate("a => { a.playbackRate = .1; }")  # no end
        content.evaluate("a => { a.currentTime = 2; return a.play(); }")

        def expect_playing(after, before):
            playwright.expect(after).to_have_js_property("paused", False)
            playwright.expect(before).to_have_js_property("paused", True)
        page.locator(".mst-content b").click()  # in the panel
        page.keyboard.press("t")
        expect_playing(result, content)
        assert 2 <= result.evaluate("a => a.currentTime") < 3
        page.locator(".jp-InputPrompt").last.click()  # on a cell, not in it
        page.keyboard.press("t")
        expect_playing(content, result)
        editor = page.locator(".jp-Notebook .cm-content").last
        editor.click()  # in it, where t is a letter
        page.keyboard.type("tt")
        playwright.expect(editor).to_contain_text("tt")
        expect_playing(content, result)
        page.screenshot(path=tmp_path / "panel.png")
        browser.close()
