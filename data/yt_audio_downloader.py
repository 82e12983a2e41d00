"""Listing 1 of the report, first line: the recordings of youtube_urls.csv, beside this file, into
downloads, beside this folder. Takes the options of `mst_download`."""
import sys
from pathlib import Path

try:
    from mst.commands import download_main
except ImportError as error:
    print(f"{error}: activate what `make setup` makes, . .venv/bin/activate", file=sys.stderr)
    sys.exit(2)

data = Path(__file__).resolve().parent
sys.exit(download_main([str(data / "youtube_urls.csv"), "-o", str(data.parent / "downloads"),
                        *sys.argv[1:]]))
