"""One notebook through the papermill command, from the project's root, as the README types it."""
import pytest
from conftest import ROOT, run

NOTEBOOK = "nbs/05_train_ldm.ipynb"


def test_by_itself_from_an_empty_folder(tmp_path):
    result = run(["papermill", NOTEBOOK, tmp_path / "out.ipynb", "-p", "profile", "smoke", "-p",
                  "out", tmp_path / "runs",
                  "--no-progress-bar"])
    assert result.returncode == 0, result.stderr[-3000:]
    folder = tmp_path / "runs" / "smoke"
    assert list(folder.rglob("*.safetensors"))
    assert all(p.stat().st_size > 1000
               for p in folder.glob("figures/*.png")) and list(folder.glob("figures/*.pdf"))
    assert (folder / "numbers" / "05_train_ldm.json").exists()


def test_as_typed(tmp_path):
    result = run(["papermill", NOTEBOOK, tmp_path / "out.ipynb"], MST_PROFILE="smoke")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "out.ipynb").exists() and (ROOT / "runs" / "smoke").is_dir()


@pytest.mark.parametrize("name, value",
                         [("profil", "smoke"), ("profile", "smok"), ("preset", "nope")])
def test_unknown_is_an_error(tmp_path, name, value):
    result = run(["papermill", NOTEBOOK, tmp_path / "out.ipynb", "-p", "out", tmp_path / "runs",
                  "-p", name, value,
                  "--no-progress-bar"], MST_PROFILE=None if name == "profile" else "smoke")
    assert result.returncode != 0
    assert "ValueError" in result.stderr and (name if name == "profil" else value) in result.stderr
