"""Listing 1 of the report, second line: the recordings of downloads into processed_images, both
beside this folder. Takes the options of `mst_build_dataset`."""
import sys
from pathlib import Path

try:
    from mst.commands import build_main
except ImportError as error:
    print(f"{error}: activate what `make setup` makes, . .venv/bin/activate", file=sys.stderr)
    sys.exit(2)

root = Path(__file__).resolve().parent.parent
sys.exit(build_main([str(root / "downloads"), "-o", str(root / "processed_images"), *sys.argv[1:]]))
