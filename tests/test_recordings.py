"""The table of public recordings, fetching from a web server on loopback that behaves well and
badly, alignments, and makers of single notes: `mst.recordings`."""
import http.server
import shutil
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import librosa
import numpy as np
import pretty_midi
import pytest
import soundfile as sf

from mst import recordings
from mst.download import DownloadErrors
from mst.files import WriteError
from mst.recordings import (
    Recording, aligned_notes, corpus_folder, fetch_recording, fetch_recordings, find_on_disk,
    is_recording_table, makers, onset_peaks, parse_recording, read_recordings, recording_url,
    seconds_to_wait, select_recordings, share_heard, share_near, write_note_tables)
from mst.render import one_layer, play_samples, recorded_notes, skip_swell, tabled_notes
from mst.run import project_root

TABLE = project_root() / "data" / "recordings.csv"
HEAD, *LINES = TABLE.read_text(encoding="utf-8").splitlines()
NOTE = Recording("samples/harp/sine/69.flac", "harp", "samples", "train", 2., "nobody", "A4",
                 "CC0 1.0", "owner/name", "0" * 40, "a b/A#4.wav", "", True, 69., "single")
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="FFmpeg is not installed")


def read(folder, content):
    path = folder / "r.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_recordings(path)


def row(**changes):
    """A line of text of the note, with some cells changed."""
    cells = {k: "" if v is None else str(v) for k, v in vars(NOTE).items()}
    cells = cells | {"transcoded": "yes"} | changes
    return ",".join(cells[name] for name in HEAD.split(","))


# ---------------------------------------------------------------- the table

def test_the_shipped_table():
    rows = read_recordings(TABLE)
    assert len(rows) == len(LINES) > 700
    assert {r.kind for r in rows} == {*recordings.KINDS}
    assert all(r.sha256 for r in rows if r.kind != "starnet")
    assert all(r.split == "test" for r in rows if r.kind == "starnet")
    assert len(select_recordings(rows, "starnet")) == 120
    assert not any("train" == r.split for r in rows if "NC" in r.licence or "SA" in r.licence)
    by_folder = {}
    for r in rows:  # a maker is in one split
        if r.kind == "samples":
            by_folder.setdefault(Path(r.path).parent, set()).add(r.split)
    assert all(len(splits) == 1 for splits in by_folder.values())


def test_alignments_are_in_the_split_of_their_performance():
    rows = read_recordings(TABLE)
    split = {Path(r.path).stem: r.split for r in select_recordings(rows, "performance")}
    aligned = [r for r in select_recordings(rows, "alignment") if Path(r.path).stem in split]
    assert len(aligned) > 10 and all(r.split == split[Path(r.path).stem] for r in aligned)


def test_list_of_a_spreadsheet(tmp_path):
    assert len(read(tmp_path, f"\ufeff{HEAD}\r\n{LINES[0]}\r\n\r\n")) == 1
    assert read(tmp_path, f"{HEAD}\n{row()}\n") == [NOTE]


def test_empty_list(tmp_path):
    assert read(tmp_path, "") == [] and read(tmp_path, HEAD) == []
    (tmp_path / "empty.csv").touch()
    assert not is_recording_table(tmp_path / "empty.csv") and is_recording_table(TABLE)


@pytest.mark.parametrize("content, message", [
    ("path,kind\na,b\n", "r.csv, line 2: nothing in column instrument"),
    (f"{HEAD}\n\n{row()}\n{row()}\n", "line 4: samples/harp/sine/69.flac is in line 3 already"),
    (f"{HEAD}\n{row(path='/etc/passwd')}\n", "line 2: path '/etc/passwd' must lead"),
    (f"{HEAD}\n{row(path='a/../../b')}\n", "must lead to a file in the folder"),
    (f"{HEAD}\n{row(split='val')}\n", "split one of train, dev, test"),
    (f"{HEAD}\n{row(source='https://x/y')}\n", "source must be owner/name"),
    (f"{HEAD}\n{row(commit='main')}\n", "commit have 40"),
    (f"{HEAD}\n{row(sha256='12')}\n", "sha256 must have 64"),
    (f"{HEAD}\n{row(pitch='nan')}\n", "seconds and pitch must be numbers"),
    (f"{HEAD}\n{row(transcoded='no')}\n", "transcoded must be yes, or empty"),
    (f"{HEAD}\n{row(licence='')}\n", "nothing in column licence"),
    (b"\xff\xfe", "not UTF-8")])
def test_a_line_that_cannot_be_used_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_there_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_recordings(tmp_path / "r.csv")


def test_parsing_keeps_what_is_not_known():
    cells = dict(zip(HEAD.split(","), row(pitch="", seconds="", transcoded="").split(",")))
    assert parse_recording(cells, "x") == replace(NOTE, pitch=None, seconds=0., transcoded=False)


# ---------------------------------------------------------------- on disk

def test_the_folder_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MST_CORPUS", raising=False)
    assert corpus_folder() is None
    monkeypatch.setenv("MST_CORPUS", "")
    assert corpus_folder() is None
    monkeypatch.setenv("MST_CORPUS", str(tmp_path))
    assert corpus_folder() == tmp_path
    monkeypatch.setenv("MST_CORPUS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere: no folder of recordings"):
        corpus_folder()


# ---------------------------------------------------------------- from the web

class Site(http.server.ThreadingHTTPServer):
    """Serves a folder; `answers` maps a path to answers (status, headers, bytes) that come first;
    `asked` are the paths that were asked for."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.answers, self.asked = folder, {}, []
        self.base = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        path = unquote(self.path)
        self.server.asked.append(path)
        if waiting := self.server.answers.get(path):
            status, headers, body = waiting.pop(0)
        elif (file := self.server.folder / path[1:]).is_file():
            status, headers, body = 200, {}, file.read_bytes()
        else:
            status, headers, body = 404, {}, b""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Site(tmp_path / "site") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that would have been waited."""
    seconds = []
    monkeypatch.setattr(recordings.time, "sleep", seconds.append)
    return seconds


def offer(site, name, content=b"hello", **changes):
    """A row for a file that the site has, kept as it is."""
    path = site.folder / "owner" / "name" / NOTE.commit / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return replace(NOTE, **{"path": f"performances/{name}", "source_path": name, "pitch": None,
                            "transcoded": False, "sha256": sha256(content).hexdigest()} | changes)


def address(recording):
    return f"/{recording.source}/{recording.commit}/{recording.source_path}"


def left(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_the_right_file(site, tmp_path):
    one = offer(site, "a #1 %41.txt")
    assert fetch_recording(one, tmp_path / "out", site.base).read_bytes() == b"hello"
    assert left(tmp_path / "out") == ["performances/a #1 %41.txt"]
    assert site.asked == [address(one)]
    fetch_recording(one, tmp_path / "out", site.base)
    assert len(site.asked) == 1  # it is there


def test_another_file_than_the_table_names(site, tmp_path, waits):
    one = offer(site, "a.txt", sha256="0" * 64)
    with pytest.raises(ValueError, match="another file came than the table names"):
        fetch_recording(one, tmp_path / "out", site.base)
    assert left(tmp_path / "out") == [] and waits == []


def test_a_broken_row_never_costs_finished_ones(site, tmp_path, waits, capsys):
    good, last = offer(site, "a.txt"), offer(site, "z.txt")
    forged = offer(site, "b.txt", sha256="0" * 64)
    lost = replace(good, path="performances/c.txt", source_path="c.txt")
    there = replace(good, path="performances/d.txt", source_path="d.txt")
    out = tmp_path / "out"
    (out / "performances").mkdir(parents=True)
    (out / there.path).write_text("mine")
    with pytest.raises(DownloadErrors) as error:
        fetch_recordings([good, forged, lost, there, last], out, site.base)
    assert [p.name for p in error.value.paths] == ["a.txt", "d.txt", "z.txt"]
    assert (out / there.path).read_text() == "mine"
    first, second = error.value.failures
    assert first.startswith("performances/b.txt: another file came")
    assert second == "performances/c.txt: HTTP Error 404: Not Found"
    assert "1 of 5 files are there, 4 are fetched" in capsys.readouterr().out
    site.asked.clear()
    with pytest.raises(DownloadErrors, match="2 of 5 recordings failed"):
        fetch_recordings([good, forged, lost, there, last], out, site.base)
    assert len(site.asked) == 2


def test_pauses_as_the_server_asks(site, tmp_path, waits):
    one = offer(site, "a.txt")
    site.answers[address(one)] = [(429, {"Retry-After": "7"}, b""), (503, {}, b"")]
    fetch_recording(one, tmp_path / "out", site.base)
    assert waits == [7, 2] and len(site.asked) == 3


def test_gives_up_after_some_attempts(site, tmp_path, waits):
    one = offer(site, "a.txt")
    site.answers[address(one)] = [(500, {}, b"")] * 9
    with pytest.raises(OSError, match="HTTP Error 500"):
        fetch_recording(one, tmp_path / "out", site.base, retries=3)
    assert waits == [1, 2, 4] and len(site.asked) == 4


def test_half_a_file_is_no_file(site, tmp_path, waits):
    one = offer(site, "a.txt", sha256="")
    half = (200, {"Content-Length": "5", "Connection": "close"}, b"he")
    site.answers[address(one)] = [half]
    assert fetch_recording(one, tmp_path / "out", site.base).read_bytes() == b"hello"
    site.answers[address(one)] = [half] * 9
    with pytest.raises(ConnectionError, match="only 2 of 5 bytes"):
        fetch_recording(one, tmp_path / "other", site.base)
    assert left(tmp_path / "other") == []


def test_no_server_at_all(site, tmp_path, waits):
    rows = [offer(site, f"{i}.txt") for i in range(9)]
    site.shutdown()
    site.server_close()
    with pytest.raises(DownloadErrors) as error:
        fetch_recordings(rows, tmp_path / "out", site.base, retries=0)
    assert len(error.value.failures) == 6 and "no more was tried" in error.value.failures[-1]


def test_a_full_disk_ends_it(site, tmp_path, monkeypatch):
    rows = [offer(site, f"{i}.txt") for i in range(3)]

    def full(*args):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(recordings, "download_file", full)
    with pytest.raises(WriteError, match="0.txt: not written, the disk is full"):
        fetch_recordings(rows, tmp_path / "out", site.base)


FULL = """#!/bin/sh
for output; do :; done
echo "[out#0/flac @ 0x1] [error] Error writing trailer: No space left on device" >&2
: > "$output"
"""


def test_a_disk_that_is_full_when_a_note_is_converted_ends_it(site, sines, tmp_path, monkeypatch):
    """FFmpeg ends with 0 where all that it wrote waits in its buffer."""
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    ffmpeg.write_text(FULL)
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(ffmpeg.parent), prepend=":")
    with pytest.raises(WriteError, match="58.flac: not written, the disk is full"):
        fetch_recordings(sines, tmp_path / "out", site.base)
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_pauses_between_rows(site, tmp_path, waits):
    fetch_recordings([offer(site, f"{i}.txt") for i in range(3)], tmp_path / "out", site.base)
    assert waits == [0, .2, .2]


LATER = format_datetime(datetime.now(timezone.utc) + timedelta(days=1))


@pytest.mark.parametrize("header, pause", [
    ("12", 12), ("9999", 300), (None, 30), ("soon", 30), ("-5", 30),
    pytest.param(LATER, 300, id="tomorrow"),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0)])
def test_retry_after(header, pause):
    headers = {"Retry-After": header} if header else {}
    assert seconds_to_wait(recordings.HTTPError("http://x", 429, "", headers, None), 0) == pause


def test_an_address_on_this_machine_is_none():
    with pytest.raises(ValueError, match="no http or https address"):
        recording_url(NOTE, "file:///etc")


def sine(key, rate=44_100, channels=2):
    times = np.arange(2 * rate) / rate
    sound = .5 * np.sin(2 * np.pi * librosa.midi_to_hz(key) * times) * np.exp(-times)
    return np.stack([sound] * channels, 1)


@pytest.fixture
def sines(site, tmp_path):
    """Rows of three transcoded notes that the site has as wav."""
    rows = []
    for key in (58, 60, 69):
        sf.write(tmp_path / "x.wav", sine(key), 44_100)
        rows.append(offer(site, f"{key}.wav", (tmp_path / "x.wav").read_bytes(), transcoded=True,
                          path=f"samples/harp/sine/{key}.flac", pitch=float(key)))
    return rows


@needs_ffmpeg
def test_transcoded_notes_can_be_played(site, sines, tmp_path):
    out = tmp_path / "out"
    paths = fetch_recordings(sines, out, site.base)
    info = sf.info(paths[0])
    assert (info.format, info.channels, info.samplerate) == ("FLAC", 1, 22_050)
    assert left(out) == [f"samples/harp/sine/{n}" for n in ("58.flac", "60.flac", "69.flac",
                                                            "table.csv")]
    by_maker = makers(sines, out, "train", "harp")
    assert by_maker == {"sine": out / "samples/harp/sine"} and makers(sines, out, "dev") == {}
    sound = play_samples([pretty_midi.Note(80, 62, .5, 1)], by_maker["sine"], 2)
    pitch = librosa.yin(sound[12_000:20_000], fmin=200, fmax=900, sr=22_050)
    assert abs(np.median(pitch) - librosa.midi_to_hz(62)) < 3


@needs_ffmpeg
def test_wav_kept_as_flac_keeps_its_samples(site, tmp_path):
    sf.write(tmp_path / "x.wav", sine(60, 16_000), 16_000)
    one = offer(site, "x.wav", (tmp_path / "x.wav").read_bytes(), path="starnet/tracks/x.flac")
    came, rate = sf.read(fetch_recording(one, tmp_path / "out", site.base))
    assert rate == 16_000 and np.array_equal(came, sf.read(tmp_path / "x.wav")[0])


@needs_ffmpeg
def test_what_is_no_sound_is_not_kept(site, tmp_path):
    one = offer(site, "x.wav", b"no sound", transcoded=True, path="samples/harp/sine/x.flac")
    with pytest.raises(DownloadErrors, match="samples/harp/sine/x.flac: x.wav: cannot be decoded"):
        fetch_recordings([one], tmp_path / "out", site.base)
    assert left(tmp_path / "out") == []


# ---------------------------------------------------------------- single notes

def test_one_layer():
    rows = [{"file": f, "midi_pitch": p, "velocity_layer": v} for f, p, v in
            [("a", "60", "L"), ("b", "60", "H"), ("c", "62", "H"), ("far", "62", "H")]]
    assert one_layer(rows) == {60: "b", 62: "c"} and one_layer([]) == {}


@pytest.mark.parametrize("line, message", [
    ("x.flac,high,single", "line 2: needs file, midi_pitch"),
    ("../r.flac,60,single", "line 2: '../r.flac' is no file in this folder"),
    ("x.flac,60,single", "'x.flac' is no file"), (",60,single", "'' is no file"),
    ("x.flac", "line 2: needs file")])
def test_a_table_of_notes_that_cannot_be_used(tmp_path, line, message):
    (tmp_path / "r.flac").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "table.csv").write_text(f"file,midi_pitch,velocity_layer\n{line}\n")
    with pytest.raises(ValueError, match=message):
        tabled_notes(tmp_path / "notes")


def test_a_table_without_a_line(tmp_path):
    (tmp_path / "table.csv").write_text("file,midi_pitch,velocity_layer\n")
    with pytest.raises(ValueError, match="no recordings of single notes"):
        recorded_notes(tmp_path)


def test_pitches_between_keys(tmp_path):
    sf.write(tmp_path / "a.flac", sine(60.4), 44_100)
    (tmp_path / "table.csv").write_text("file,midi_pitch,velocity_layer\na.flac,60.4,single\n")
    sound = play_samples([pretty_midi.Note(80, 61, 0, 1)], tmp_path, 1)
    pitch = librosa.yin(sound[2000:18_000], fmin=200, fmax=900, sr=22_050)
    assert abs(np.median(pitch) - librosa.midi_to_hz(61)) < 2


def test_a_swell_is_skipped_and_silence_survives():
    tone = librosa.tone(440, sr=44_100, duration=2)
    assert skip_swell(tone) is tone
    assert skip_swell(tone * np.linspace(0, 1, len(tone)) ** 3)[0] == 0
    silence = np.zeros(22_050, np.float32)
    assert skip_swell(silence) is silence


def test_tables_are_written_once(tmp_path):
    rows = [replace(NOTE, path=f"samples/harp/a/{k}.flac", pitch=float(k)) for k in (60, 62)]
    assert write_note_tables(rows, tmp_path) == []  # no such maker here
    (tmp_path / "samples/harp/a").mkdir(parents=True)
    path, = write_note_tables(rows, tmp_path)
    path.write_text("mine")
    assert write_note_tables(rows, tmp_path) == [] and path.read_text() == "mine"


def test_a_table_of_fewer_notes_grows(tmp_path):
    """As after a fetch by a shorter table; the longer one would leave notes unheard."""
    rows = [replace(NOTE, path=f"samples/harp/a/{k}.flac", pitch=float(k)) for k in (60, 62, 64)]
    (tmp_path / "samples/harp/a").mkdir(parents=True)
    path, = write_note_tables(rows[:2], tmp_path)
    assert write_note_tables(rows[:2], tmp_path) == write_note_tables(rows[:1], tmp_path) == []
    assert write_note_tables(rows, tmp_path) == [path]
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == [
        "file", "60.flac", "62.flac", "64.flac"]


# ---------------------------------------------------------------- alignments

def align(folder, violin=False, notes="pitch\n60\n62\n"):
    piece = replace(NOTE, path="performances/x/piece.ogg", kind="performance", pitch=None,
                    instrument="violin" if violin else "piano")
    if violin:
        for name, text in (("notes", notes), ("alignments", "start,end\n0,1\n1,2\n")):
            path = folder / "alignments/violin/bach-violin" / name / "piece.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return piece


def test_a_violin_has_two_files(tmp_path):
    notes = aligned_notes(tmp_path, align(tmp_path, violin=True))
    assert [(n.pitch, n.start, n.end) for n in notes] == [(60, 0, 1), (62, 1, 2)]
    assert aligned_notes(tmp_path, align(tmp_path)) is None  # a piano of the same name


@pytest.mark.parametrize("notes, message", [
    ("pitch\n60\n", "piece.csv: 1 notes for 2 times"), ("pitch\n60\nB\n", "line 3: pitch must be"),
    ("key\n60\n62\n", "line 2: pitch must be")])
def test_an_alignment_that_cannot_be_used(tmp_path, notes, message):
    with pytest.raises(ValueError, match=message):
        aligned_notes(tmp_path, align(tmp_path, True, notes))


def test_times_that_are_early_are_moved(tmp_path, monkeypatch):
    monkeypatch.setitem(recordings.EARLY, "piece", .5)
    assert [n.start for n in aligned_notes(tmp_path, align(tmp_path, violin=True))] == [.5, 1.5]


def test_shares():
    assert share_near(np.array([1., 1., 2.]), np.array([1.04, 2.06])) == .5
    assert share_near(np.array([1.]), np.array([])) == share_near(np.array([]), np.ones(1)) == 0
    sound = np.concatenate([librosa.tone(librosa.midi_to_hz(k), sr=22_050, duration=1)
                            for k in (60, 67, 63, 70)])
    notes = [pretty_midi.Note(80, k, i, i + 1) for i, k in enumerate((60, 67, 63, 70))]
    right, late = share_heard(sound, notes, (0, 1))
    assert right == 1 and late <= .25
    assert share_near(np.arange(1, 4), onset_peaks(sound)) == 1


# ---------------------------------------------------------------- the recordings themselves

@pytest.fixture
def corpus():
    if (folder := corpus_folder()) is None:
        pytest.skip("MST_CORPUS names no folder")
    return folder


def test_notes_on_disk_are_those_of_the_table(corpus, tmp_path):
    rows = [r for r in select_recordings(read_recordings(TABLE), "samples") if r.pitch is not None]
    for folder in makers(rows, corpus).values():
        place = folder.relative_to(corpus)
        ours = [r for r in rows if Path(r.path).parent == place]
        (tmp_path / place).mkdir(parents=True)
        path, = write_note_tables(ours, tmp_path)
        for r in ours:
            (tmp_path / r.path).touch()
        assert ([(k, p.name) for k, p in tabled_notes(path.parent)]
                == [(k, p.name) for k, p in tabled_notes(folder)]), place


def test_files_on_disk_have_their_checksums(corpus):
    rows = [r for r in select_recordings(read_recordings(TABLE), "alignment") if not r.transcoded]
    there, _ = find_on_disk(rows, corpus)
    assert all(sha256((corpus / r.path).read_bytes()).hexdigest() == r.sha256 for r in there)
