"""Names, tables and messages for downloads at their edges; the servers are in test_download.py."""
import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from tqdm.auto import tqdm
from yt_dlp.utils import DownloadError

from mst.download import (
    CODECS, AudioDownloader, DownloadErrors, QuietLogger, count_bytes, keep_resumable, one_line,
    read_url_csv, require_ffmpeg, safe_name, single_recording, url_row, visible_text)

HEAD = b"instrument,title,url\n"


@pytest.mark.parametrize("bad", [
    "..", ".", "", "/", "../x", "\\..\\x", "\x00", "~", "NUL", "a\nb", "$HOME", "\udc80", "x" * 300,
    "é" * 300, "con.txt", "\u202e", "a\u2028b", " . ", "夜想曲 " * 60])
def test_bad_title_becomes_one_visible_component(bad):
    name = safe_name(bad)
    assert name and name[0] != "." and not set(name) & set("/\\\0\n$")
    assert len(name.encode()) <= 120 and safe_name(name) == name


def test_titles_that_differ_late_stay_two_files():
    assert safe_name("x" * 300 + "1") != safe_name("x" * 300 + "2")


@pytest.mark.parametrize("text, name", [("piano_solo_00", "piano_solo_00"),
                                        ("Cafe\u0301", "Caf\u00e9"), ("AC/DC", "AC_DC"),
                                        ("aux.mp3", "_aux.mp3"), ("com7", "_com7")])
def test_name_of_a_title(text, name):
    assert safe_name(text) == name


@pytest.mark.parametrize("text, visible", [
    ("", ""), (" a\x00b\ud800 \n", "ab"), ("a\t\u3000b", "a b"), ("a\u202egpm.exe", "agpm.exe")])
def test_what_nobody_sees_goes(text, visible):
    assert visible_text(text) == visible


def read(folder, content):
    (folder / "urls.csv").write_bytes(content)
    return read_url_csv(folder / "urls.csv")


def test_table_of_a_spreadsheet_with_other_columns(tmp_path):
    content = (b"\xef\xbb\xbfTitle,instrument,URL,note\r\n\r\na,harp,http://x/1,\r\n,,,\r\n\r\n")
    assert read(tmp_path, content) == [("harp", "a", "http://x/1", 3)]


@pytest.mark.parametrize("content, message", [
    (b"", "row 1: the file is empty"), (b"\n,,\n", "row 1: the file is empty"),
    (HEAD, "row 1: no recordings"),
    (b"instrument;title;url\nharp;a;http://x/1\n", "row 1: needs one column 'instrument'"),
    (b"instrument,url\nharp,http://x/1\n", "row 1: needs one column 'title'"),
    (b"\ntitle,title,instrument,url\n", "row 2: needs one column 'title'"),
    (HEAD + b"harp,a, b,http://x/1\n", "row 2: 4 fields under 3 columns"),
    (HEAD + b"\nharp,,http://x/1\n", "row 3: instrument, title and url must not be empty"),
    (HEAD + b"harp,a/b,http://x/1\nharp,a:b,http://x/2\n",
     "row 3: duplicate of row 2, both are harp/a_b"),
    (HEAD + b"harp,a,http://x/1\n\nHARP,A,http://x/2\n", "row 4: duplicate of row 2"),
    (HEAD + "harp,a,http://x/1\nharp,été,http://x/2\n".encode("latin-1"), "row 3: not UTF-8"),
    (HEAD + b'harp,"a,http://x/1\n', "row 2: not readable as CSV"),
    ("instrument,title,url\n".encode("utf-16"), "row 1: not UTF-8"),
])
def test_table_with_a_mistake_names_the_row(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"urls.csv, {message}"):
        read(tmp_path, content)


def test_empty_fields_behind_the_columns_are_no_mistake():
    assert url_row(["instrument", "title", "url"], ["a", "b", "c", "", ""], 7) == ("a", "b", "c", 7)


@pytest.mark.parametrize("codec", CODECS)
def test_path_of_a_recording(codec):
    downloader = AudioDownloader("downloads", codec=codec)
    assert downloader.path("../Prelude", "piano") == Path(
        f"downloads/piano/___Prelude{CODECS[codec]}")
    assert downloader.path("a").parent == Path("downloads")


def test_default_path_is_mp3():
    path = AudioDownloader().path("piano_solo_00", "piano")
    assert path.as_posix() == "downloads/piano/piano_solo_00.mp3"


def test_unknown_codec_is_answered_with_the_known():
    with pytest.raises(ValueError, match="choose from mp3, wav, flac, opus, m4a, vorbis"):
        AudioDownloader(codec="mp5")


@pytest.mark.parametrize("missing", ["ffmpeg", "ffprobe"])
def test_missing_program_is_named(tmp_path, monkeypatch, missing):
    there = tmp_path / ({"ffmpeg", "ffprobe"} - {missing}).pop()
    there.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"^{missing} not found: install FFmpeg"):
        require_ffmpeg()


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://x/y", "a.mp3", ""])
def test_only_http(tmp_path, address):
    with pytest.raises(ValueError, match="no http or https address"):
        AudioDownloader(tmp_path).download_audio(address)
    assert not list(tmp_path.iterdir())


def test_one_recording_behind_an_address():
    assert single_recording({"id": 1}) == {"id": 1}
    assert single_recording({"_type": "playlist", "entries": [None, {"id": 2}]}) == {"id": 2}


@pytest.mark.parametrize("info, message", [
    ({"_type": "playlist", "entries": [{"id": 2}, {"id": 3}]}, "several"),
    ({"_type": "playlist", "entries": []}, "or none"), ({"is_live": True}, "live"),
    ({"_type": "playlist", "entries": [{"is_live": True}]}, "live")])
def test_list_and_broadcast_are_no_recording(info, message):
    with pytest.raises(ValueError, match=message):
        single_recording(info)


def test_bar_follows_totals_that_change():
    with tqdm(file=io.StringIO()) as bar:
        progress = count_bytes(bar, 100)
        for state, expected in (({}, (0, None)), ({"downloaded_bytes": 5}, (5, None)),
                                ({"downloaded_bytes": 6, "total_bytes": 50}, (6, 50)),
                                ({"downloaded_bytes": 60, "total_bytes_estimate": 90}, (60, 90))):
            progress(state)
            assert (bar.n, bar.total) == expected
        with pytest.raises(ValueError, match="more than 100 bytes"):
            progress({"downloaded_bytes": 120})


@pytest.mark.parametrize("names, kept", [
    (["a.part", "a.mp3"], ["a.part"]),
    (["a.part-Frag3.part", "a.ytdl"], ["a.part-Frag3.part", "a.ytdl"])])
def test_only_what_can_be_continued_is_kept(tmp_path, names, kept):
    (work := tmp_path / "piano" / ".x.part").mkdir(parents=True)
    for name in names:
        (work / name).touch()
    keep_resumable(work, 100)
    assert sorted(p.name for p in work.iterdir()) == kept


def test_nothing_to_continue_leaves_no_folder(tmp_path):
    (work := tmp_path / "piano" / ".x.part").mkdir(parents=True)
    (work / "a.part").write_bytes(bytes(101))
    keep_resumable(work, 100)
    assert not work.parent.exists()


def test_warnings_are_shown_but_not_retries():
    with redirect_stderr(io.StringIO()) as said:
        QuietLogger().warning("Retrying (1/3)...")
        QuietLogger().error("x")
        QuietLogger().debug("y")
        QuietLogger().warning("odd")
    assert said.getvalue() == "yt-dlp: odd\n"


@pytest.mark.parametrize("error, line", [
    (ValueError("\x1b[0;31mERROR:\x1b[0m [x] no\n such (caused by <E>); please report .."),
     "[x] no such"),
    (KeyError("id"), "KeyError: 'id'"), (OSError(), "OSError: "), (DownloadError("a\nb"), "a b")])
def test_one_line_of_an_error(error, line):
    assert one_line(error) == line


def test_list_of_failures():
    error = DownloadErrors(["row 3: a", "row 4: b"], [Path("c")])
    assert str(error) == "2 of 3 recordings failed:\n  row 3: a\n  row 4: b"
