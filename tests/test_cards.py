"""What a reader finds beside the code: a sample to hear, a citation, a model card, a glossary."""
import json
import re
import tomllib
from configparser import ConfigParser

import numpy as np
import publish
import pytest
import sample
import soundfile as sf
import yaml
from conftest import ROOT
from huggingface_hub import ModelCard
from run_notebooks import chapters

from mst.rulers import HEADLINES, RULERS
from mst.takes import read_recipe

CARD = ROOT / "data" / "pretrained" / "README.md"


def settings():
    parser = ConfigParser()
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


def test_the_citation_parses_and_agrees():
    """cffconvert has validated the file against version 1.2.0; what changes is looked at here."""
    cff, own = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8")), settings()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cff["cff-version"] == "1.2.0" and cff["message"] and cff["title"].startswith("mst")
    assert cff["version"] == own["version"] == project["version"]
    assert [author["name"] for author in cff["authors"]] == [own["author"]]
    assert own["author"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert cff["license"].lower() == own["license"]
    assert cff["abstract"] == own["description"]
    report, = cff["references"]
    names = [(author["given-names"], author["family-names"]) for author in report["authors"]]
    assert names == [("Andrei", "Prioteasa"), ("Theo", "Stempel-Hauburger")]
    bib = (ROOT / "report" / "references.bib").read_text(encoding="utf-8")
    assert report["title"] in bib and report["repository-code"] in bib


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "data/pretrained/README.md"])
def test_addresses_are_those_of_the_settings(name):
    text, own = (ROOT / name).read_text(encoding="utf-8"), settings()
    place = f"{own['user']}/{own['repo']}"
    repositories = set(re.findall(r"github(?:\.com)?/([\w-]+/[\w.-]+)", text))
    assert place in repositories
    assert all(found == place or not found.endswith(f"/{own['repo']}") for found in repositories)
    assert set(re.findall(r"https://([\w-]+)\.github\.io", text)) <= {own["user"]}


def test_the_model_card_is_what_a_hub_reads():
    card = ModelCard.load(CARD)
    assert card.data.license == settings()["license"]
    assert (card.data.library_name, card.data.pipeline_tag) == ("mst", "audio-to-audio")
    assert "style-transfer" in card.data.tags and card.data.model_name == "mst"
    assert {found.dataset_split for found in card.data.eval_results} == {"test"}
    for title in ("Numbers", "Limits"):
        assert f"\n## {title}\n" in card.text


def test_the_model_card_has_the_numbers_of_the_release():
    text = CARD.read_text(encoding="utf-8")
    assert publish.model_card(text) == text, "make publish"
    scores = publish.shipped_scores()
    assert {"rendered", "real players"} <= scores.keys()
    found = {(x.dataset_name, x.metric_name): x.metric_value
             for x in ModelCard.load(CARD).data.eval_results}
    assert found["rendered", "LSD"] == float(scores["rendered"]["LSD"].split()[0])
    assert f"| rendered | {scores['rendered']['heard as asked (%)']} |" in text


def test_the_readme_has_an_excerpt_of_the_release():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert publish.put_results(text, publish.results()) == text, "make publish"
    rows = [line.split(" | ") for line in publish.results().splitlines() if line.startswith("| ")]
    names = [row[0].strip("| ") for row in rows[1:]]  # each once, before its other rows
    whole = [row[0] for row in publish.release_rows()[1:] if row[0]]
    assert [name for name in names if name] == whole
    scores = publish.shipped_scores()["rendered"]
    assert any(row[1] == "mst" and row[2] == scores["heard as asked (%)"] for row in rows)


def test_the_sample_is_of_these_weights_and_small():
    sizes = {}
    for role in sample.ROLES:
        path = ROOT / "sample" / f"{role}.ogg"
        assert read_recipe(path) == sample.weights_mark(), "python tools/sample.py"
        assert path.stat().st_size <= sample.MAX_CLIP
        sound, rate = sf.read(path)
        sizes[role] = len(sound)
        assert rate == sample.RATE and .01 < np.abs(sound).max() <= 1
    assert sizes["content"] == sizes["result"] == sizes["twin"] == sample.SECONDS * sample.RATE
    assert len(list((ROOT / "sample").iterdir())) == 4


def test_the_sample_is_of_a_validation_piece():
    pieces = (ROOT / "data" / "scores.csv").read_text(encoding="utf-8").splitlines()
    row, = (line.split(",") for line in pieces if line.startswith(f"{sample.PIECE},"))
    assert "val" in row and "test" not in row


def test_the_headlines_are_what_shortcuts_do_not_win():
    """In most sets where a headline is measured."""
    header, *rows = publish.release_rows()
    for name in HEADLINES:
        column, by_method = header.index(RULERS[name][0]), {}
        for row in rows:  # the sets in their order
            by_method.setdefault(row[1], []).append(row[column].partition(" ")[0])
        for shortcut in ("copy content", "equaliser only"):
            won = [float(mst) > float(by) for mst, by in zip(by_method["mst"], by_method[shortcut],
                                                             strict=True) if mst != "-"]
            assert sum(won) > len(won) / 2, (name, shortcut, won)


def test_what_the_readme_says_is_in_the_table():
    """Shares in per cent, LSD and F1 or MFCC, each among the numbers of their columns."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = text.partition("**What it says.**")[2].partition("<!-- results -->")[0]
    header, *rows = publish.release_rows()
    kinds = {r"\d+(?= %)|\d+(?= for \d+ %)": [k for k in header if k.endswith("(%)")],
             r"[1-9]\d*\.\d+": ["LSD"], r"\b0\.\d+": ["notes", "notes as asked", "MFCC"]}
    for pattern, columns in kinds.items():
        values = [float(row[header.index(column)].partition(" ")[0]) for row in rows
                  for column in columns if row[header.index(column)] != "-"]
        numbers = re.findall(pattern, said)
        assert len(numbers) > 10
        for number in numbers:
            digits = len(number.partition(".")[2])
            assert any(f"{value:.{digits}f}" == number for value in values), number


def test_the_sample_is_heard_from_readme_and_site(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = " | ".join(f"[{role}.ogg](sample/{role}.ogg)" for role in sample.ROLES)
    assert f"| {row} |" in readme
    text = sample.sample_row(ROOT / "sample", tmp_path)
    sources = re.findall(r'<audio controls [^>]*src="([^"]+)">', text)
    assert len(sources) == 4 and all((tmp_path / source).is_file() for source in sources)


def test_a_sample_is_made(tmp_path, monkeypatch):
    """With a model that turns the content round; kept until the weights are others; never over
    100 KB."""
    noise = .1 * np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    made = []
    monkeypatch.setattr(sample, "project_root", lambda: tmp_path)
    monkeypatch.setattr(sample, "render_sounds", lambda: {
        "content": noise, "style": noise[:9000], "twin": noise})
    monkeypatch.setattr(sample, "play", lambda content: made.append(1) or content[::-1])
    sample.main()
    sample.main()
    assert len(made) == 1 and sf.info(tmp_path / "sample" / "result.ogg").frames == 30_000
    monkeypatch.setattr(sample, "weights_mark", lambda: json.dumps({"ldm.safetensors": "new"}))
    sample.main()
    assert len(made) == 2
    with pytest.raises(ValueError, match="long.ogg: ... KB, 100 are allowed"):
        sample.write_clip(tmp_path / "long.ogg", np.tile(noise, 20), "{}")
    assert not (tmp_path / "long.ogg").exists()


def test_every_question_of_a_chapter_is_answered():
    """In the order of the chapters, each by a cell that runs."""
    cells = json.loads((ROOT / "nbs" / "07d_answers.ipynb").read_text(encoding="utf-8"))["cells"]
    order, chapter = [], None
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for number, question in re.findall(r"(?m)^## Chapter (\d+)|^\*\*(\d)\. ", text):
                chapter = number or chapter
                order += [[chapter, question, False]] if question else []
        elif order:
            order[-1][2] = True
    assert order == [[path.name[:2], k, True] for path in chapters(ROOT / "nbs") for k in "123"]
    for path in chapters(ROOT / "nbs"):
        questions = text_of(path.name).partition("**Three things to try**")[2]
        assert len(re.findall(r"(?m)^- ", questions.partition("**Where next")[0])) == 3


def text_of(name):
    """All cells of a notebook, as text."""
    cells = json.loads((ROOT / "nbs" / name).read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells)


def glossary():
    """{term: (what it says, the notebooks that it links to)}."""
    rows = re.findall(r"(?m)^\*\*(.+?)\*\*: (.+)$", text_of("glossary.ipynb"))
    return {term: (text, re.findall(r"\]\((\w+\.ipynb)\)", text)) for term, text in rows}


def test_the_glossary_leads_to_where_a_word_is_explained():
    terms = glossary()
    wanted = ("mel", "dB", "latent", "alpha-bar", "DDIM", "twin", "content", "style", "guidance")
    assert all(any(word in term for term in terms) for word in wanted)
    assert [*terms] == sorted(terms, key=str.lower)
    for term, (text, links) in terms.items():
        assert links, term
        assert 1 <= len(re.findall(r"[.?!](?= |$)", text)) <= 2, f"{term}: one or two sentences"
        words = {word.lower() for word in re.split(r" \(|\)", term) if word}
        words |= {word.replace(" ", "_") for word in words}  # a parameter's name
        for link in links:
            assert any(word in text_of(link).lower() for word in words), f"{link}: no {term}"
