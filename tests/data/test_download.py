"""Whatever sources do, verified data arrives or one clear message, and nothing partial is left."""

import gzip
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from published import CONTENT, IMAGES, NAMES, TINY, Answer, Handler, Serve, good, missing, running

from headstart.core.errors import UserError
from headstart.data import catalogue, download, idx, web

ROOT = Path(__file__).resolve().parents[2]


def good_uncompressed_only(handler: Handler, name: str, compressed: bool) -> None:
    if compressed:
        missing(handler, name, compressed)
    else:
        good(handler, name, compressed)


def cut_connection(handler: Handler, name: str, compressed: bool) -> None:
    body = gzip.compress(CONTENT[name])
    handler.send(body[: len(body) // 2], length=len(body))


def short_archive(handler: Handler, name: str, compressed: bool) -> None:
    body = gzip.compress(CONTENT[name])
    handler.send(body[: len(body) // 2])


def short_content(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(gzip.compress(CONTENT[name][:-1]))


def wrong_bytes(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(gzip.compress(CONTENT[name][:-1] + b"\xee"))


BOMB = gzip.compress(b"\0" * 10_000_000, 1)


def bomb(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(BOMB)


def endless(handler: Handler, name: str, compressed: bool) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"\0" * 65536)


def web_page(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(b"<html>Please log in to this network</html>")


def decompressed_on_the_way(handler: Handler, name: str, compressed: bool) -> None:
    body = gzip.compress(CONTENT[name])
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def reset(handler: Handler, name: str, compressed: bool) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def hang(handler: Handler, name: str, compressed: bool) -> None:
    handler.server.stopping.wait(60)


def drip(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(b"", length=100_000)
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b"\x1f")
        handler.wfile.flush()


def drip_headers(handler: Handler, name: str, compressed: bool) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def error_500(handler: Handler, name: str, compressed: bool) -> None:
    handler.send(b"", status=500)


def first(count: int, bad: Answer) -> Answer:
    """Answers the first `count` requests badly, all others well."""

    def answer(handler: Handler, name: str, compressed: bool) -> None:
        (bad if len(handler.server.asked) <= count else good)(handler, name, compressed)

    return answer


def only_for(damaged: str, bad: Answer) -> Answer:
    def answer(handler: Handler, name: str, compressed: bool) -> None:
        (bad if name == damaged else good)(handler, name, compressed)

    return answer


@pytest.fixture(autouse=True)
def no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shields from the environment, and sees that no test leaves a temporary file behind."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("HEADSTART_"):
            monkeypatch.delenv(name)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(web, "_BACKOFF_SECONDS", (0.01, 0.02, 0.04))
    yield
    assert list(temporary.iterdir()) == []


@pytest.fixture
def serve() -> Iterator[Serve]:
    with running() as start:
        yield start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "tiny"


def stocked(folder: Path, *, suffix: str = "", content: Mapping[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, data in {**CONTENT, **(content or {})}.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    return folder


def get(
    folder: Path, *addresses: str, timeout: float = 5.0, **environment: str
) -> list[download.Arrival]:
    return download.download(TINY, addresses, folder, environment=environment, timeout=timeout)


def refusal(folder: Path, *addresses: str, timeout: float = 5.0, **environment: str) -> str:
    with pytest.raises(UserError) as caught:
        get(folder, *addresses, timeout=timeout, **environment)
    return str(caught.value)


def assert_complete(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def assert_nothing(folder: Path) -> None:
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        good,
        good_uncompressed_only,
        decompressed_on_the_way,
        first(2, error_500),
        first(2, reset),
        first(2, cut_connection),
    ],
)
def test_server_that_has_it_in_the_end_is_enough(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str], answer: Answer
) -> None:
    server = serve(answer)
    arrivals = get(folder, server.url)
    assert_complete(folder)
    assert [arrival.name for arrival in arrivals] == NAMES
    assert {arrival.source for arrival in arrivals} == {server.url}
    assert arrivals[0].bytes == len(CONTENT[IMAGES])
    assert "warning" not in capsys.readouterr().err


LIES: list[tuple[Answer, str]] = [
    (missing, "neither as .gz nor as it is"),
    (short_archive, "is damaged"),
    (short_content, "holds 3255 bytes instead of 3256"),
    (wrong_bytes, "SHA-256"),
    (web_page, "holds 42 bytes instead of 3256"),
    (bomb, "holds more than the published 3256 bytes"),
    (endless, "sends more than"),
    (error_500, "500 Internal Server Error, 4 times"),
    (cut_connection, "ended before the whole file had come, 4 times"),
    (reset, "was reset, 4 times"),
]


@pytest.mark.parametrize(("answer", "reason"), LIES)
def test_server_that_lies_or_fails_leaves_one_message_no_file_and_the_work_to_the_next(
    serve: Serve,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    reason: str,
) -> None:
    bad, right = serve(answer), serve(good)
    message = refusal(folder, bad.url)
    assert_nothing(folder)
    assert bad.url in message
    assert reason in message
    assert "HEADSTART_MIRROR=FOLDER" in message
    capsys.readouterr()

    arrivals = get(folder, bad.url, right.url)
    assert_complete(folder)
    assert {arrival.source for arrival in arrivals} == {right.url}
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert bad.url in warnings[0]
    assert reason in warnings[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (hang, "no answer within 1 s"),
        (drip, "too slow: "),
        (drip_headers, "too slow: "),
    ],
)
def test_server_that_hangs_or_drips_is_given_up_and_asked_once(
    serve: Serve, folder: Path, answer: Answer, reason: str
) -> None:
    server = serve(answer)
    message = refusal(folder, server.url, timeout=1)
    assert reason in message
    assert server.asked == [f"{IMAGES}.gz"]
    assert_nothing(folder)


def test_slow_server_that_keeps_sending_is_waited_for(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_LEAST_BYTES", 250)
    monkeypatch.setattr(web, "_WEB_CHUNK", 100)

    def slow(handler: Handler, name: str, compressed: bool) -> None:
        body = CONTENT[name]
        handler.send(b"", length=len(body))
        for start in range(0, len(body), 150):
            handler.wfile.write(body[start : start + 150])
            handler.wfile.flush()
            time.sleep(0.15)

    server = serve(only_for(IMAGES, slow))
    get(folder, server.url, timeout=0.75)  # 22 packets in 3.3 s, two windows of 1.5 s and more
    assert_complete(folder)


def test_refused_port_is_tried_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: refused for as long as we hold it
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        message = refusal(folder, url)
    assert f"{url}: Connection refused" in message
    assert capsys.readouterr().err.count("fetching") == 1
    assert_nothing(folder)


def test_host_without_an_address_fails_with_that_reason(folder: Path) -> None:
    message = refusal(folder, "http://headstart.invalid/")
    assert re.search(r"headstart\.invalid/: .*(not known|resolution|resolve|No address)", message)


@pytest.mark.parametrize("url", ["http://", "http://[::1/", "http://a b/", "http://x:port/"])
def test_address_that_is_none_is_a_reason_like_any_other(folder: Path, url: str) -> None:
    assert f"  {url}: " in refusal(folder, url)
    assert_nothing(folder)


def test_proxy_that_refuses_is_named_as_the_culprit(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
        message = refusal(folder, "http://headstart.invalid/")
    assert "the proxy: Connection refused" in message
    assert "secret" not in message


def test_only_the_damaged_file_is_asked_of_the_next_source(serve: Serve, folder: Path) -> None:
    bad, right = serve(only_for(NAMES[2], wrong_bytes)), serve(good)
    arrivals = get(folder, bad.url, right.url)
    assert_complete(folder)
    assert right.asked == [f"{NAMES[2]}.gz"]
    assert [arrival.source for arrival in arrivals] == [bad.url, bad.url, right.url, bad.url]


def test_good_files_stay_when_one_is_nowhere_and_are_not_fetched_again(
    serve: Serve, folder: Path
) -> None:
    server = serve(only_for(NAMES[2], missing))
    message = refusal(folder, server.url)
    assert f"no source has {NAMES[2]} of tiny\n" in message
    assert sorted(path.name for path in folder.iterdir()) == sorted({*NAMES} - {NAMES[2]})
    server.answer = good
    server.asked.clear()
    get(folder, server.url)
    assert server.asked == [f"{NAMES[2]}.gz"]
    assert_complete(folder)


def test_verified_files_are_kept_and_no_source_is_contacted(serve: Serve, folder: Path) -> None:
    server = serve(good)
    get(folder, server.url)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    server.asked.clear()
    arrivals = get(folder, server.url)
    assert server.asked == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [arrival.source for arrival in arrivals] == [None] * 4


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"\xee"])
def test_damaged_file_on_disk_is_fetched_again(
    serve: Serve, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    stocked(folder, content={IMAGES: damage(CONTENT[IMAGES])})
    server = serve(good)
    get(folder, server.url)
    assert server.asked == [f"{IMAGES}.gz"]
    assert_complete(folder)


def test_half_written_file_of_a_killed_run_is_cleared_away(serve: Serve, folder: Path) -> None:
    stocked(folder)
    (folder / ".x7k2.part").write_bytes(b"half")
    get(folder, serve(good).url)
    assert_complete(folder)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_folder_is_a_source(tmp_path: Path, folder: Path, suffix: str) -> None:
    source = stocked(tmp_path / "my data", suffix=suffix)
    arrivals = get(folder, str(source))
    assert_complete(folder)
    assert arrivals[0].source == str(source)


def test_folder_below_home_is_a_source(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stocked(tmp_path / "mirror")
    get(folder, "~/mirror")
    assert_complete(folder)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[IMAGES][:-1], "holds 3255 bytes instead of 3256"),
        (CONTENT[IMAGES] + b"\0", "holds more than the published 3256 bytes"),
        (CONTENT[IMAGES][:-1] + b"\xee", "SHA-256"),
        (b"", "holds 0 bytes"),
    ],
)
def test_damaged_file_in_a_folder_is_named_and_only_that_one_is_missing(
    tmp_path: Path, folder: Path, suffix: str, content: bytes, reason: str
) -> None:
    source = stocked(tmp_path / "mirror", suffix=suffix, content={IMAGES: content})
    message = refusal(folder, str(source))
    assert f"no source has {IMAGES} of tiny\n" in message
    assert f"{source}: {IMAGES}: " in message
    assert reason in message
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES[1:])


def test_cut_archive_in_a_folder_is_named(tmp_path: Path, folder: Path) -> None:
    source = stocked(tmp_path / "mirror", suffix=".gz")
    archive = source / f"{IMAGES}.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    assert "is damaged" in refusal(folder, str(source))


def test_good_archive_beside_a_damaged_file_is_taken(tmp_path: Path, folder: Path) -> None:
    source = stocked(tmp_path / "mirror", content={IMAGES: b"damaged"})
    (source / f"{IMAGES}.gz").write_bytes(gzip.compress(CONTENT[IMAGES]))
    get(folder, str(source))
    assert_complete(folder)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("ftp://host/data/", "a source is a folder, http(s)://BASE/ or apt:PACKAGE"),
        ("apt:", "is followed by the name"),
        ("apt:-o=Dir::Etc", "is followed by the name"),
        ("a\0b", "there is no such folder"),
    ],
)
def test_source_that_cannot_be_one_says_what_may_stand_there(
    folder: Path, source: str, reason: str
) -> None:
    assert reason in refusal(folder, source)
    assert_nothing(folder)


def test_all_sources_are_listed_with_their_reasons(
    serve: Serve, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar, broken = serve(wrong_bytes), serve(missing)
    message = refusal(folder, "/no/such/folder", liar.url, broken.url)
    lines = message.splitlines()
    assert lines[0] == f"sources: no source has {', '.join(NAMES)} of tiny"
    assert lines[1] == "  /no/such/folder: there is no such folder"
    assert lines[2].startswith(f"  {liar.url}: {IMAGES}: has SHA-256")
    assert lines[3].startswith(f"  {broken.url}: {', '.join(NAMES)}: the server has it neither")
    assert "4 published files" in lines[4]
    assert len(lines) == 5
    # Two are warned of on the way; the last one's reason comes with the error.
    assert capsys.readouterr().err.count("warning: ") == 2
    assert_nothing(folder)


def test_mirror_in_the_environment_goes_before_all_sources(
    serve: Serve, folder: Path, tmp_path: Path
) -> None:
    server = serve(good)
    mirror = str(stocked(tmp_path / "mirror"))
    arrivals = get(folder, server.url, HEADSTART_MIRROR=mirror)
    assert server.asked == []
    assert {arrival.source for arrival in arrivals} == {mirror}


def test_mirror_that_fails_is_named_and_the_sources_follow(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(folder, serve(good).url, HEADSTART_MIRROR="/no/such/folder")
    assert_complete(folder)
    assert "warning: /no/such/folder: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten"])
def test_timeout_that_is_none_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(UserError, match=f"HEADSTART_TIMEOUT={text}: .*seconds"):
        download.download(TINY, [], folder, environment={"HEADSTART_TIMEOUT": text})


def test_timeout_in_the_environment_holds(serve: Serve, folder: Path) -> None:
    with pytest.raises(UserError, match="no answer within 1 s"):
        download.download(TINY, [serve(hang).url], folder, environment={"HEADSTART_TIMEOUT": "1"})


def test_credentials_reach_the_server_and_no_message(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, right = serve(wrong_bytes), serve(good)
    source = f"http://user:tok%40en@{bad.address}/data?sig=hush"
    message = refusal(folder, source)
    assert f"http://***@{bad.address}/data?***: " in message
    assert bad.paths[0] == f"/data/{IMAGES}.gz?sig=hush"
    arrivals = get(folder, source, source.replace(bad.address, right.address))
    seen = f"{message}{arrivals}{''.join(capsys.readouterr())}"
    assert not re.search("user|tok|hush", seen)
    assert right.address in seen


@pytest.mark.parametrize(
    "source",
    [
        "https://user:token@headstart.invalid/x",
        "http://user:to/ken@127.0.0.1:1/",
        # No parser takes these, and what Python says of them holds all of it.
        "http://user:token℀@127.0.0.1/",
        "http://user:token@[127.0.0.1/",
        "ftp://user:token@127.0.0.1/",
    ],
)
def test_credentials_are_masked_when_no_server_is_reached(
    folder: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not re.search("user|token|ken", refusal(folder, source) + capsys.readouterr().err)


def test_folder_in_whose_place_a_file_stands_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "raw"
    blocked.write_text("a file")
    with pytest.raises(UserError, match="raw: something that is not a folder"):
        get(blocked, "/no/such/folder")


def test_full_disk_is_no_fault_of_the_source(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on file sizes stands in for a small disk; the child has it alone."""
    url = serve(good).url
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from headstart.core.errors import reported\n"
        "from headstart.data import download\n"
        "from published import TINY\n"
        "with reported():\n"
        "    download.download(TINY, [sys.argv[4]], Path(sys.argv[3]), environment={}, timeout=5)\n"
    )
    child = subprocess.run(
        [
            sys.executable,
            "-B",
            "-c",
            code,
            str(ROOT / "src"),
            str(ROOT / "tests/support"),
            folder,
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )
    assert child.returncode == 1
    assert "ulimit -f" in child.stderr
    assert "Traceback" not in child.stderr
    assert_nothing(folder)


needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None, reason="apt-get is not installed: not Debian or Ubuntu"
)


@needs_apt
def test_debian_package_gives_the_published_bytes_and_leaves_nothing(folder: Path) -> None:
    arrivals = download.download(
        catalogue.FASHION_MNIST, ["apt:dataset-fashion-mnist"], folder, environment={}
    )
    assert [arrival.source for arrival in arrivals] == ["apt:dataset-fashion-mnist"] * 4
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        file.name for file in catalogue.FASHION_MNIST.files
    )
    train_images, train_labels, test_images, test_labels = idx.load(catalogue.FASHION_MNIST, folder)
    assert train_images.shape == (60000, 28, 28)
    assert test_images.shape == (10000, 28, 28)
    assert np.bincount(train_labels).tolist() == [6000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10


@needs_apt
def test_package_that_does_not_exist_is_named(folder: Path) -> None:
    message = refusal(folder, "apt:headstart-no-such-package", timeout=10)
    assert "Unable to locate package headstart-no-such-package" in message
    assert_nothing(folder)


def test_system_without_apt_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get is not installed here" in refusal(folder, "apt:dataset-fashion-mnist")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the project's parameters, and one source that is not there."""
    text = (ROOT / "params.yaml").read_text()
    text = re.sub(r"sources:\n(?: {4}- .*\n)+", "sources: [/no/such/folder]\n", text)
    assert "/no/such/folder" in text
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text(text)
    return folder


def stage(project: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    script = ROOT / "stages" / "download.py"
    return subprocess.run(
        [sys.executable, "-B", *(["-c", code] if code else [script])],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_stage_without_a_source_ends_with_one_message(project: Path) -> None:
    result = stage(project)
    assert result.returncode == 1
    assert result.stderr.startswith(
        "error: params.yaml: dataset.sources: no source has train-images"
    )
    assert result.stderr.count("error:") == 1
    assert "/no/such/folder: there is no such folder" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_stage_imports_nothing_that_is_slow_to_start(project: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'stages')!r})\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'stages' / 'download.py')!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    slow = {'tensorflow', 'keras', 'mlflow', 'scipy', 'sklearn', 'pandas', 'matplotlib'}\n"
        "    print(sorted(slow & {*sys.modules}))\n"
    )
    assert stage(project, code).stdout.strip() == "[]"
