"""From what the notebooks wrote to what the report reads."""
import json

import collect
import publish
import pytest


@pytest.mark.parametrize("key, name", [
    ("ae_psnr_val", "numAePsnrVal"), ("ae_psnr_16", "numAePsnrOneSix"),
    ("tr_lsd_t200", "numTrLsdTTwoZeroZero"),
    ("data_32x8", "numDataThreeTwoXEight")])
def test_macro_name(key, name):
    assert collect.macro_name(key) == name


@pytest.mark.parametrize("key", ["", "16_ae", "a-b", "größe", "a b"])
def test_bad_key(key):
    with pytest.raises(ValueError, match="no name for a number"):
        collect.macro_name(key)


@pytest.mark.parametrize("value, text", [
    (7, "7"), (8155296, r"8\,155\,296"), (-1.5, r"\ensuremath{-1.5}"), (0.25, "0.25"),
    (1e-05, r"\ensuremath{1\times 10^{-5}}"), ("50 %", r"50 \%"), ("a_b & c#", r"a\_b \& c\#"),
    ("$\\pm 3$", "$\\pm 3$")])
def test_latex_value(value, text):
    assert collect.latex_value(value) == text


@pytest.fixture
def project(tmp_path):
    run = tmp_path / "runs" / "smoke"
    for folder in ("figures", "tables", "numbers"):
        (run / folder).mkdir(parents=True)
    (run / "figures" / "loss.pdf").write_bytes(b"pdf")
    (run / "figures" / "loss.png").write_bytes(b"png")
    (run / "tables" / "scores.tex").write_text("a & 1 \\\\\n")
    (run / "numbers" / "00_data.json").write_text(json.dumps({"data_pieces": 12}))
    (run / "numbers" / "02_ae.json").write_text(json.dumps({"ae_psnr": 20.5}))
    for name, device in (("00_data", "cpu"), ("02_ae", "cuda")):
        (run / f"{name}.ipynb").write_text(f'"{name}: preset report, profile smoke, {device}, seed '
                                           '0\\n"')
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "main.tex").write_text(
        "\\input{numbers} \\numDataPieces{} \\runDevice \\includegraphics[width=1cm]{loss}\n"
        "% \\numNothing\n\\ifdefined\\numNothing It is \\numNothing. \\fi\n\\input{tables/scores} "
        "\\num{5}\n")
    return tmp_path


def test_collect(project):
    collect.main("smoke", project)
    path = project / "runs" / "smoke" / "report" / "numbers.tex"
    text = path.read_text()
    assert "\\newcommand{\\numDataPieces}{12}" in text
    assert "\\newcommand{\\runDevice}{cpu, cuda}" in text
    assert "\\newcommand{\\runProfile}{smoke}" in text and "\\newcommand{\\runSeed}{0}" in text
    # nothing is copied there
    assert [p.name for p in (project / "report").iterdir()] == ["main.tex"]
    time = path.stat().st_mtime_ns
    collect.main("smoke", project)
    assert path.stat().st_mtime_ns == time


def test_benchmarks_are_read_in_place(project):
    (project / "report" / "more.tex").write_text("\\input{tables/bench_cost} \\numCost")
    bench = project / "report" / "benchmarks"
    for folder in ("tables", "numbers"):
        (bench / folder).mkdir(parents=True)
    (bench / "tables" / "bench_cost.tex").write_text("")
    (bench / "numbers" / "benchmarks.json").write_text('{"cost": 3}')
    collect.main("smoke", project)


def test_publish_takes_what_the_report_uses_and_the_readme_shows(project):
    run = project / "runs" / "smoke"
    (project / "README.md").write_text("![Loss](figures/shown.png) ![Panel](figures/panel.png)")
    (run / "figures" / "shown.png").write_bytes(b"png")
    (run / "tables" / "unused.tex").write_text("")
    for folder in (project / "figures", project / "report" / "tables"):
        folder.mkdir()
        (folder / "old.pdf").write_bytes(b"")
    (project / "figures" / "panel.png").write_bytes(b"what no run makes")
    collect.main("smoke", project)
    with pytest.raises(FileNotFoundError, match="main.pdf"):  # a run that is not whole
        publish.publish_files("smoke", project)
    assert (project / "figures" / "old.pdf").exists()
    (run / "report" / "main.pdf").write_bytes(b"the report")
    publish.publish_files("smoke", project)
    assert {p.name for p in (project / "figures").iterdir()} == {
        "loss.pdf", "shown.png", "panel.png"}
    assert {p.name for p in (project / "report" / "tables").iterdir()} == {"scores.tex"}
    assert (project / "report" / "main.pdf").read_bytes() == b"the report"
    assert "numDataPieces" in (project / "report" / "numbers.tex").read_text()


@pytest.mark.parametrize("tex, error", [
    ("\\includegraphics{figures/nope.pdf}", "figure figures/nope.pdf"),
    ("\\numNope", r"macro \\numNope"),
    ("\\input{tables/nope}", "table tables/nope"), ("\\numDataPiece", r"macro \\numDataPiece")])
def test_missing(project, tex, error):
    (project / "report" / "more.tex").write_text(tex)
    with pytest.raises(SystemExit, match=f"did not write what the report uses: more.tex: {error}"):
        collect.main("smoke", project)


def test_same_key_twice(project):
    (project / "runs/smoke/numbers/03_x.json").write_text('{"ae_psnr": 1}')
    with pytest.raises(SystemExit, match="'ae_psnr' stands in 02_ae.json and in 03_x.json"):
        collect.main("smoke", project)


def test_same_macro_twice(project):
    (project / "runs/smoke/numbers/03_x.json").write_text('{"aePsnr": 1}')
    with pytest.raises(SystemExit, match="same macro"):
        collect.main("smoke", project)


def test_no_run(project):
    with pytest.raises(SystemExit, match="runs/full is not there"):
        collect.main("full", project)
