"""The blind test of the listening page in headless Chromium, with tones for sounds, and how its
answers are counted."""
import json

import blind
import numpy as np
import pytest
import soundfile as sf
from conftest import CHROMIUM, CHROMIUM_ARGS

PAIRS = ("piano to violin", "piano to harp", "harp to </script> piano")


def answer(pair, asked, right, time="1"):
    return {"pair": pair, "asked": asked, "true_first": True, "said_first": right, "time": time}


def saved(path, answers, listener="a", **changes):
    path.write_text(json.dumps({"format": blind.FORMAT, "page": "p", "listener": listener,
                                "answers": answers} | changes))
    return path


@pytest.mark.skipif(not CHROMIUM, reason="chromium is missing: apt-get install chromium")
def test_a_listener_answers_saves_and_comes_back(tmp_path, capsys):
    playwright = pytest.importorskip("playwright.sync_api")
    for role, hertz in (("twin", 440), ("result", 880)):
        tone = .1 * np.sin(2 * np.pi * hertz * np.arange(4000) / 8000)
        sf.write(tmp_path / f"{role}.wav", tone, 8000)
    trials = [{"pair": pair, "piece": "a tune", "asked": pair.split()[-1], "twin": "twin.wav",
               "result": "result.wav"} for pair in PAIRS]
    (tmp_path / "index.html").write_text(f"<!DOCTYPE html><body>{blind.blind_test(trials, 'p')}")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        page, errors = browser.new_page(), []
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto((tmp_path / "index.html").as_uri())
        players, told, score = page.locator("audio"), page.locator("#told"), page.locator("#score")
        rights = []
        for k in range(len(PAIRS)):
            assert told.inner_text() == "" and page.locator("#next").is_disabled()
            files = players.evaluate_all("audios => audios.map(a => a.src.split('/').pop())")
            assert sorted(files) == ["result.wav", "twin.wav"]
            page.locator("#blind .say").nth(k % 2).click()
            rights.append(files[k % 2] == "twin.wav")
            assert told.inner_text().startswith("Right" if rights[-1] else "Wrong")
            assert "the first is the true" in told.inner_text() or files[1] == "twin.wav"
            assert score.inner_text() == f"{sum(rights)} of {k + 1} right"
            if k == 1:
                # What was answered is still there, and is not asked again. A browser keeps it a
                # moment later than the page says so: a reload within a millisecond may be early.
                for _ in range(20):
                    page.reload()
                    if score.inner_text() != "0 of 0 right":
                        break
                    page.wait_for_timeout(100)
                assert score.inner_text() == f"{sum(rights)} of 2 right"
                assert "Question 3 of 3" in page.locator("#question").inner_text()
            else:
                page.locator("#next").click()
        assert "all questions" in page.locator("#question").inner_text()
        with page.expect_download() as download:
            page.locator("#save").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        page.locator("#anew").click()
        assert score.inner_text() == "0 of 0 right" and page.locator("#save").is_disabled()
        browser.close()
    assert not errors, errors
    answers = json.loads(path.read_text())["answers"]
    assert sorted(a["pair"] for a in answers) == sorted(PAIRS)
    assert [a["right"] for a in answers] == rights
    assert blind.main([str(path), str(path)]) == 0
    assert f"all{sum(rights):19}{3:6}" in capsys.readouterr().out


def test_answers_are_counted_once_with_an_interval(tmp_path, capsys):
    first = [answer(f"piano to {k}", "violin", k < 15, "2") for k in range(20)]
    files = [saved(tmp_path / "a.json", first),
             saved(tmp_path / "again.json", first + [answer("piano to 0", "violin", False, "3")]),
             saved(tmp_path / "b.json", [answer("piano to 0", "acoustic guitar", False)], "b")]
    assert blind.main(map(str, files)) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:2] == ["2", "listeners;"]
    assert lines[2:] == [["acoustic", "guitar", "0", "1", "0", "[0,", "98]"],
                         ["violin", "15", "20", "75", "[51,", "91]"],
                         ["all", "15", "21", "71", "[48,", "89]"]]


@pytest.mark.parametrize("text", [
    "", "null", "[]", "[" * 10**5, '{"format": 1}', '{"format": "mst blind test 1"}', "\xff\xfe",
    json.dumps({"format": blind.FORMAT, "page": 1, "listener": 1, "answers": [3]}),
    json.dumps({"format": blind.FORMAT, "page": 1, "listener": 1, "answers": {"a": 1}}),
    json.dumps({"format": blind.FORMAT, "page": 1, "listener": 1,
                "answers": [answer("a", "x\x1b[2J", True)]}),
    json.dumps({"format": blind.FORMAT, "page": 1, "listener": 1,
                "answers": [answer("a", "harp", "true")]})])
def test_a_file_without_answers_is_named_and_the_others_count(tmp_path, capsys, text):
    (tmp_path / "bad.json").write_bytes(text.encode("latin-1"))
    good = saved(tmp_path / "good.json", [answer("a", "harp", True)])
    paths = [str(path) for path in (tmp_path / "bad.json", good, tmp_path / "none.json", tmp_path)]
    assert blind.main(paths) == 2
    out, err = capsys.readouterr()
    assert "harp" in out and len(err.splitlines()) == 3
    assert "bad.json: holds no answers" in err and "none.json: cannot be read (No such" in err
