"""AudioDownloader with the real yt-dlp and FFmpeg against a web server on loopback that behaves
well and badly."""
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from conftest import BIN
from filelock import FileLock

from mst import download
from mst.download import CODECS, AudioDownloader, DownloadErrors, read_url_csv, safe_name
from mst.commands import download_main

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg is not installed")
SAMPLE_RATE = 22050
TYPES = {".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".wav": "audio/x-wav", ".webm": "audio/webm",
         ".m4a": "audio/mp4"}


def run_ffmpeg(*args):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, args)], check=True)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    "Three seconds of a falling tone in noise, in the containers of `TYPES`."
    folder = tmp_path_factory.mktemp("sounds")
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(t))
    audio = 0.5 * np.sin(2 * np.pi * (880 * t - 80 * t**2)) + noise
    sf.write(folder / "sound.wav", audio, SAMPLE_RATE, subtype="PCM_16")
    for suffix in TYPES:
        if suffix != ".wav":
            run_ffmpeg("-i", folder / "sound.wav", folder / f"sound{suffix}")
    return folder


class Site(http.server.ThreadingHTTPServer):
    """Serves `/{behaviour}/{anything}.{suffix}` from `folder`, logs (path, Range header) of each
    request."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.log, self.closing = folder, [], threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the game

    def ranges(self, path):
        """Range headers of the requests for `path`, without the look that yt-dlp takes at the
        headers first."""
        return [wanted for url, wanted in self.log if url == path][1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.log.append((self.path, wanted))
        behaviour, suffix = self.path.split("/")[1], Path(self.path).suffix
        getattr(self, behaviour, self.missing)(suffix, wanted)

    def start(self, length, content_type, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def sound(self, suffix, wanted):
        """Headers for the sound file from the byte that is wanted on; returns (first byte, the
        bytes from there)."""
        data = (self.server.folder / f"sound{suffix}").read_bytes()
        first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        span = {"Content_Range": f"bytes {first}-{len(data) - 1}/{len(data)}"} if wanted else {}
        self.start(len(data) - first, TYPES[suffix], 206 if wanted else 200, **span)
        return first, data[first:]

    def missing(self, suffix, wanted):
        self.send_error(404)

    def good(self, suffix, wanted):
        self.wfile.write(self.sound(suffix, wanted)[1])

    def stubborn(self, suffix, wanted):
        "Knows no ranges: always the whole file."
        self.good(suffix, None)

    def stalled(self, suffix, wanted):
        "Promises all, sends a little, then nothing."
        self.wfile.write(self.sound(suffix, wanted)[1][:1000])
        self.server.closing.wait(60)

    def mute(self, suffix, wanted):
        self.server.closing.wait(60)

    def truncated(self, suffix, wanted):
        "Promises all, hangs up in the middle of the file, however often one asks."
        first, data = self.sound(suffix, wanted)
        self.wfile.write(data[:max((first + len(data)) // 2 - first, 0)])
        self.close_connection = True

    def hiccup(self, suffix, wanted):
        "Hangs up after each 50000 bytes."
        self.wfile.write(self.sound(suffix, wanted)[1][:50000])
        self.close_connection = True

    def slow(self, suffix, wanted):
        "About 80 kB/s, but the rest of a file at once."
        data = self.sound(suffix, wanted)[1]
        for i in range(0, len(data), 8192):
            self.wfile.write(data[i:i + 8192])
            time.sleep(0 if wanted else 0.1)

    def busy(self, suffix, wanted):
        "Asks twice to come again in 7 seconds, then sends the file."
        if sum(path == self.path for path, _ in self.server.log) > 2:
            return self.good(suffix, wanted)
        self.start(0, "text/plain", 429, Retry_After="7")

    def garbage(self, suffix, wanted):
        self.start(4000, TYPES[suffix])
        self.wfile.write(b"no sound " * 444 + b"more")

    def empty(self, suffix, wanted):
        self.start(0, TYPES[suffix])

    def endless(self, suffix, wanted):
        self.start(None, TYPES[suffix])
        while not self.server.closing.is_set():
            self.wfile.write(bytes(65536))

    def turned(self, suffix, wanted):
        "Sends the client to a file of its own machine."
        self.send_response(302)
        self.send_header("Location", f"file://{self.server.folder}/sound{suffix}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def playlist(self, suffix, wanted):
        "A stream whose only part is a file of the client's machine."
        lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:3", "#EXTINF:3,",
                 f"file://{self.server.folder}/sound.mp3", "#EXT-X-ENDLIST", "")
        text = "\n".join(lines).encode()
        self.start(len(text), "application/vnd.apple.mpegurl")
        self.wfile.write(text)

    def page(self, suffix, wanted):
        "What a site shows to people: HTML with a player in it."
        html = (b"<!DOCTYPE html><html><head><title>Fugue: a/b</title></head>"
                b"<body><audio src='/good/fugue.mp3'></audio>")
        self.start(len(html), "text/html")
        self.wfile.write(html)


@pytest.fixture
def site(sounds, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Site(sounds)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05},
                     daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


def write_table(path, rows):
    lines = ['"' + '","'.join(field.replace('"', '""') for field in row) + '"' for row in rows]
    path.write_bytes("\n".join(["instrument,title,url", *lines, ""]).encode())
    return path


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
                  and p.suffix != ".lock")


def parts_in(folder):
    return [p for p in folder.rglob("*.part") if p.is_file()]


def assert_same_sound(path, sounds):
    expected, got = sf.read(sounds / "sound.wav", dtype="int16")[0], sf.read(path, dtype="int16")[0]
    np.testing.assert_array_equal(got, expected)


def command(*args):
    return subprocess.Popen([BIN / "mst_download", *map(str, args)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("codec, source",
                         [("mp3", ".mp3"), ("mp3", ".webm"), ("wav", ".wav"), ("wav", ".mp3"),
                                           ("flac", ".wav"), ("opus", ".webm"), ("m4a", ".m4a"),
                          ("m4a", ".wav"),
                                           ("vorbis", ".ogg"), ("vorbis", ".mp3")])
def test_codecs(site, tmp_path, codec, source):
    path = AudioDownloader(tmp_path, codec).download_audio(
        f"{site.address}/good/a{source}", "a", instrument="harp"
    )
    assert path == tmp_path / "harp" / f"a{CODECS[codec]}"
    assert files_in(tmp_path) == [f"harp/a{CODECS[codec]}"]
    probe = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of",
                            "json", path],
                           capture_output=True, check=True)
    report = json.loads(probe.stdout)
    assert [s["codec_name"]
            for s in report["streams"]] == [{"m4a": "aac", "wav": "pcm_s16le"}.get(codec, codec)]
    assert abs(float(report["format"]["duration"]) - 3) < 0.15


def test_table_with_failing_rows(site, tmp_path):
    good = [["piano", "first", f"{site.address}/good/1.mp3"],
            ["harp", "second", f"{site.address}/good/2.ogg"],
            ["piano", "last", f"{site.address}/good/3.wav"]]
    bad = [["piano", kind, f"{site.address}/{kind}/x.mp3"]
           for kind in ("missing", "truncated", "garbage", "empty")]
    bad += [["violin", "local file", "file:///etc/hostname"],
            ["violin", "no server", "http://127.0.0.1:9/a.mp3"],
            ["violin", "no address", "somewhere"],
            ["violin", "stalled", f"{site.address}/stalled/x.mp3"]]
    table = write_table(tmp_path / "urls.csv", [good[0], *bad[:4], good[1], *bad[4:], good[2]])
    downloader = AudioDownloader(tmp_path / "downloads", timeout=1, retries=0, pause=0)
    with pytest.raises(DownloadErrors) as caught:
        downloader.download_from_csv(table)
    expected = ["piano/first.mp3", "harp/second.mp3", "piano/last.mp3"]
    assert [path.relative_to(tmp_path / "downloads").as_posix()
            for path in caught.value.paths] == expected
    assert [file for file in files_in(tmp_path / "downloads")
            if "/." not in file] == sorted(expected)
    failures = caught.value.failures
    assert [line.split(":")[0] for line in failures] == [
        "row 3, piano/missing", "row 4, piano/truncated", "row 5, piano/garbage",
        "row 6, piano/empty",
        "row 8, violin/local file", "row 9, violin/no server", "row 10, violin/no address",
        "row 11, violin/stalled"]
    for line, reason in zip(failures, ["404", "", "codec", "", "http or https", "",
                                       "http or https", "timed out"]):
        assert reason in line and "\n" not in line and "report this issue" not in line, line
    assert str(caught.value).startswith("8 of 11 recordings failed:\n  row 3, ")

    site.log.clear()  # again: what is there is not asked for
    with pytest.raises(DownloadErrors, match="8 of 11"):
        downloader.download_from_csv(table)
    assert site.log and not [path for path, _ in site.log if path.startswith("/good")]


@pytest.fixture
def waits(monkeypatch):
    "Seconds that would have been waited between rows and attempts."
    seconds = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


def test_pauses_as_the_server_asks(site, tmp_path, sounds, waits):
    url = f"{site.address}/busy/a.wav"
    assert_same_sound(AudioDownloader(tmp_path, "flac").download_audio(url, "a"), sounds)
    assert waits == [7, 7]
    with pytest.raises(Exception, match="429"):
        AudioDownloader(tmp_path, "flac",
                        retries=1).download_audio(f"{site.address}/busy/b.wav", "b")
    assert waits == [7, 7, 7]


def test_pauses_between_rows_but_not_for_what_is_there(site, tmp_path, waits):
    rows = [["piano", f"{i}", f"{site.address}/good/{i}.mp3"] for i in range(3)]
    table = write_table(tmp_path / "urls.csv", rows)
    downloader = AudioDownloader(tmp_path / "downloads")
    paths = downloader.download_from_csv(table)
    assert waits == [1, 1]
    paths[1].unlink()
    downloader.download_from_csv(table)
    assert waits == [1, 1, 1]


@pytest.mark.parametrize("address", ["turned/a.mp3", "playlist/a.m3u8"])
def test_server_cannot_reach_files(site, tmp_path, address):
    with pytest.raises(Exception):
        AudioDownloader(tmp_path, retries=0).download_audio(f"{site.address}/{address}", "a")
    assert not list(tmp_path.rglob("*.mp3"))
    assert not [p for p in parts_in(tmp_path) if p.stat().st_size]
    assert {path for path, _ in site.log} == {f"/{address}"}


@pytest.mark.parametrize("behaviour", ["mute", "stalled"])
def test_silent_server_ends(site, tmp_path, behaviour):
    begin = time.monotonic()
    with pytest.raises(Exception, match="timed out"):
        AudioDownloader(tmp_path, timeout=0.5,
                        retries=2).download_audio(f"{site.address}/{behaviour}/a.mp3", "a")
    assert time.monotonic() - begin < 20  # the server would wait for 60
    assert not (tmp_path / "a.mp3").exists()


def test_endless_stream_ends(site, tmp_path):
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        AudioDownloader(tmp_path, max_bytes=10**6).download_audio(
            f"{site.address}/endless/a.mp3", "a"
        )
    assert files_in(tmp_path) == []


def test_transfer_in_pieces(site, tmp_path, sounds):
    path = AudioDownloader(tmp_path, "flac",
                           retries=5).download_audio(f"{site.address}/hiccup/a.wav", "a")
    assert_same_sound(path, sounds)
    first, *others = site.ranges("/hiccup/a.wav")
    starts = [int(wanted.removeprefix("bytes=")[:-1]) for wanted in others]
    assert first is None and len(starts) >= 2 and starts == sorted(set(starts)) and starts[0] > 0


def test_next_run_resumes(site, tmp_path, sounds, monkeypatch):
    downloader, url = AudioDownloader(tmp_path, "flac",
                                      retries=0), f"{site.address}/truncated/a.wav"
    with pytest.raises(Exception, match="bytes read"):
        downloader.download_audio(url, "a", instrument="piano")
    [part] = parts_in(tmp_path)
    size = part.stat().st_size
    assert size > 10000 and not list(tmp_path.glob("piano/*.flac"))

    monkeypatch.setattr(Handler, "truncated", Handler.good)
    site.log.clear()
    assert_same_sound(downloader.download_audio(url, "a", instrument="piano"), sounds)
    assert site.ranges("/truncated/a.wav") == [f"bytes={size}-"]
    assert files_in(tmp_path) == ["piano/a.flac"]


def test_server_without_ranges_starts_again(site, tmp_path, sounds, monkeypatch):
    downloader, url = AudioDownloader(tmp_path, "flac",
                                      retries=0), f"{site.address}/truncated/a.wav"
    with pytest.raises(Exception):
        downloader.download_audio(url, "a")
    assert len(parts_in(tmp_path)) == 1
    monkeypatch.setattr(Handler, "truncated", Handler.stubborn)
    assert_same_sound(downloader.download_audio(url, "a"), sounds)


def test_changed_address_does_not_continue_old_bytes(site, tmp_path, sounds):
    downloader = AudioDownloader(tmp_path, "flac", retries=0)
    with pytest.raises(Exception):
        downloader.download_audio(f"{site.address}/truncated/a.wav", "a")
    assert_same_sound(downloader.download_audio(f"{site.address}/good/a.wav", "a"), sounds)
    assert site.ranges("/good/a.wav") == [None]


def test_killed_run_resumes(site, tmp_path, sounds):
    table = write_table(tmp_path / "urls.csv", [["piano", "a", f"{site.address}/slow/a.wav"]])
    output = tmp_path / "downloads"
    process = command(table, "--output", output, "--codec", "flac")
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 16000 for p in parts_in(output)):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    [part] = parts_in(output)
    size = part.stat().st_size
    assert not list(output.glob("piano/*.flac"))

    [path] = AudioDownloader(output, "flac").download_from_csv(table)
    assert_same_sound(path, sounds)
    assert site.log[-1] == ("/slow/a.wav", f"bytes={size}-")


def test_half_converted_is_not_finished(site, tmp_path, sounds, monkeypatch):
    "An FFmpeg that writes the head of a file and dies leaves nothing under the recording's name."
    broken = tmp_path / "bin" / "ffmpeg"
    broken.parent.mkdir()
    broken.write_text(f'#!/bin/sh\ncase "$*" in *-version*|*-bsfs*) exec {shutil.which("ffmpeg")} '
                      '"$@";; esac\n'
                      'for last; do :; done\n'
                      'printf half > "${last#file:}"; echo killed >&2; exit 1\n')
    broken.chmod(0o755)
    downloader, output = AudioDownloader(tmp_path / "out", "flac"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(broken.parent) + os.pathsep + os.environ["PATH"])
        with pytest.raises(Exception, match="conversion failed: killed"):
            downloader.download_audio(f"{site.address}/good/a.wav", "a")
    assert files_in(output) == []
    assert_same_sound(downloader.download_audio(f"{site.address}/good/a.wav", "a"), sounds)


def test_killed_conversion_starts_again(site, tmp_path, sounds):
    "As a kill during the conversion leaves it: the source is whole, the result is not."
    downloader, url = AudioDownloader(tmp_path, "flac",
                                      retries=0), f"{site.address}/truncated/a.wav"
    with pytest.raises(Exception):
        downloader.download_audio(url, "a")
    [part] = parts_in(tmp_path)
    shutil.copy(sounds / "sound.wav", part.with_suffix(""))
    part.unlink()
    part.with_suffix("").with_suffix(".flac").write_bytes(b"fLaC half")
    site.log.clear()
    assert_same_sound(downloader.download_audio(url, "a"), sounds)
    assert site.ranges("/truncated/a.wav") == [] and files_in(tmp_path) == ["a.flac"]


TITLES = ["..", "../../escaped", "/absolute", "a\\..\\b", ".hidden", "nul\x00l", "line\nbreak",
          "~", "$HOME", "%(title)s",
          "-rf", "AUX", "Füße 夜想曲 🎻", "\u202egpm", "q\"'`;|&", "x" * 300, "x" * 300 + "y",
          "夜" * 300, "dot.", "file.mp3"]
LABELS = ["..", "../../escaped", "/absolute", "line\nbreak", "~", "x" * 300]


def test_titles_and_labels_stay_inside(site, tmp_path):
    output = tmp_path / "deep" / "er" / "downloads"
    rows = [["piano", title, f"{site.address}/good/{i}.mp3"] for i, title in enumerate(TITLES)]
    rows += [[label, "a", f"{site.address}/good/label{i}.mp3"] for i, label in enumerate(LABELS)]
    table = write_table(tmp_path / "urls.csv", rows)
    paths = AudioDownloader(output, pause=0).download_from_csv(table)
    assert len(set(paths)) == len(rows) == len(files_in(output))
    assert files_in(tmp_path) == sorted(["urls.csv",
                                         *(f"deep/er/downloads/{file}"
                                           for file in files_in(output))])
    assert {path.parent for path in paths[:len(TITLES)]} == {output / "piano"}
    assert {path.parent.parent for path in paths} == {output}
    names = [name for path in paths for name in path.relative_to(output).parts]
    assert all(len(name.encode()) <= 125 and not name.startswith(".") for name in names)


def test_title_of_the_page(site, tmp_path):
    downloader = AudioDownloader(tmp_path)
    path = downloader.download_audio(f"{site.address}/page/fugue.html")
    assert path.parent == tmp_path
    assert "/" not in path.name
    assert path.name.startswith("Fugue")
    assert path.suffix == ".mp3"
    assert sf.info(path).duration > 2.9
    site.log.clear()
    assert downloader.download_audio(f"{site.address}/page/fugue.html") == path
    assert site.ranges("/good/fugue.mp3") == [] and files_in(tmp_path) == [path.name]


def test_file_name_with_suffix_and_strange_folder(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = AudioDownloader("~x 100% %(id)s").download_audio(f"{site.address}/good/a.mp3", "a.mp3")
    assert files_in(tmp_path) == ["~x 100% %(id)s/a.mp3"] and path.is_file()


def test_ffmpeg_missing(site, tmp_path, monkeypatch, capsys):
    table = write_table(tmp_path / "urls.csv", [["piano", "a", f"{site.address}/good/a.mp3"]])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert download_main([str(table), "--output", str(tmp_path / "downloads")]) == 2
    error = capsys.readouterr().err
    assert error == ("mst_download: ffmpeg and ffprobe not found: install FFmpeg "
                     "(apt-get install ffmpeg)\n")
    with pytest.raises(FileNotFoundError, match="apt-get install ffmpeg"):
        AudioDownloader(tmp_path).download_audio(f"{site.address}/good/a.mp3", "a")
    assert site.log == []


def test_two_programs_one_folder(site, tmp_path):
    with FileLock(tmp_path / ".download.lock"):
        with pytest.raises(RuntimeError, match="another download"):
            AudioDownloader(tmp_path).download_audio(f"{site.address}/good/a.mp3", "a")


def test_table_from_a_spreadsheet(site, tmp_path):
    table = tmp_path / "urls.csv"
    row = f"piano,a,{site.address}/good/a.mp3"
    table.write_bytes(f"\ufeffinstrument,title,url\r\n\r\n{row}\r\n,,\r\n\r\n".encode())
    paths = AudioDownloader(tmp_path / "d").download_from_csv(table)
    assert paths == [tmp_path / "d" / "piano" / "a.mp3"]


@pytest.mark.parametrize("content, message", [
    (b"", "row 1: the file is empty"),
    (b"instrument,url\npiano,http://x/1\n", "row 1: needs one column 'title'"),
    (b"instrument,title,url\npiano,a,http://x/1\n\nPiano,A ,http://x/2\n",
     "row 4: duplicate of row 2"),
    (b"instrument,title,url\npiano,\xe9,http://x/1\n", "row 2: not UTF-8"),
    (b"instrument,title,url\npiano,a\n", "row 2: 2 fields under 3 columns"),
])
def test_table_with_a_mistake(tmp_path, capsys, content, message):
    table = tmp_path / "urls.csv"
    table.write_bytes(content)
    assert download_main([str(table), "--output", str(tmp_path / "downloads")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mst_download: {table}, {message}") and error.count("\n") == 1
    assert not (tmp_path / "downloads").exists()


def test_command_line(site, tmp_path):
    rows = [["piano", "a", f"{site.address}/good/a.mp3"],
            ["harp", "b", f"{site.address}/missing/b.mp3"]]
    table = write_table(tmp_path / "urls.csv", rows)
    process = command(table, "--output", tmp_path / "downloads", "--timeout", "5", "--retries", "0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "1 of 2 recordings failed:\n  row 3, harp/b: " in err
    assert "404" in err
    assert "Traceback" not in err and files_in(tmp_path / "downloads") == ["piano/a.mp3"]
    write_table(table, rows[:1])
    assert download_main([str(table), "--output", str(tmp_path / "downloads")]) == 0


def test_the_committed_table():
    rows = read_url_csv(Path(__file__).parents[1] / "data" / "youtube_urls.csv")
    assert sorted(row.instrument for row in rows) == ["acoustic_guitar", "harp", "piano", "violin"]
    assert all(row.url.startswith("https://www.youtube.com/watch?v=") for row in rows)
    assert all(safe_name(row.title) == row.title for row in rows)
