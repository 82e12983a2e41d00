"""What lies in data/pretrained/: small enough, loadable, described; and the program that trains it
again."""
import json
import sys

import pytest
from conftest import ROOT, run
from safetensors import safe_open

FILES = sorted((ROOT / "data" / "pretrained").glob("*.safetensors"))


def test_weights_stay_small():
    size = {p.name: p.stat().st_size for p in FILES}
    assert sum(size.values()) < 45e6
    assert size["vocoder.safetensors"] + size["autoencoder.safetensors"] < 15e6


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_weights_say_what_they_are(path):
    with safe_open(path, "pt") as f:
        info = json.loads(next(iter(f.metadata().values())))
        assert info["config"] and {str(f.get_tensor(k).dtype)
                                   for k in f.keys()} <= {"torch.float16", "torch.int64"}
    assert f"## {path.name}" in (ROOT / "data" / "pretrained" / "README.md").read_text()
    # or make report would not see a change
    assert any(path.name in nb.read_text() for nb in (ROOT / "nbs").glob("*.ipynb"))


def test_an_unknown_name_is_refused():
    result = run([sys.executable, "tools/train_shipped.py", "violin"])
    assert result.returncode == 1
    assert "unknown: violin; known are features, judge, autoencoder, vocoder" in result.stderr
