"""Weights of published networks: verified on the way in, named where they cannot be had."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_projects import new
from published import (
    Answer,
    Handler,
    Server,
    missing,
    running,
    secured,
    write_certificate,
)
from typer.testing import CliRunner

from headstart.core.errors import UserError, located
from headstart.data import verify, web, weights
from headstart.params import fields, reading, sections
from headstart.project import published

CONTENT = b"weights of a network" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
NAME = "ResNet50"
FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
UNPUBLISHED = "MobileNetV2_0.35"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces two networks of the table: one of known sum, one of none."""
    monkeypatch.setattr(web, "_BACKOFF_SECONDS", (0.0,))
    for name, md5 in ((NAME, MD5), (UNPUBLISHED, None)):
        tiny = dataclasses.replace(
            weights.NETWORKS[name], md5=md5, address="http://127.0.0.1:9/", parameters=1
        )
        monkeypatch.setitem(weights.NETWORKS, name, tiny)


Serve = Callable[[Answer], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with running() as start:
        yield start


def sends(content: bytes, *, length: int | None = None) -> Answer:
    def answer(handler: Handler, name: str, compressed: bool) -> None:
        if compressed:
            missing(handler, name, compressed)
        else:
            handler.send(content, length=length)

    return answer


def keep(
    folder: Path,
    mirror: str = "",
    *,
    name: str | None = NAME,
    sha256: str | None = None,
    input_size: tuple[int, int] | str = "auto",
    timeout: float = 5,
) -> None:
    source = f"keras:{name}" if name else None
    with located("params.yaml: source_training."):
        weights.keep(
            source,
            folder,
            input_size=input_size,
            sha256=sha256,
            environment={"HEADSTART_MIRROR": mirror, "HEADSTART_TIMEOUT": str(timeout)},
        )


def test_parameters_know_the_names_of_the_table() -> None:
    assert set(weights.NETWORKS) == set(fields.APPLICATIONS)
    assert {network.preprocessing for network in weights.NETWORKS.values()} <= set(
        fields.PREPROCESSINGS
    )
    for network in weights.NETWORKS.values():
        assert ":" not in network.published().name
        assert network.sizes[-1] == sections.PUBLISHED_SIDE
    assert weights.named("models/own/mine.keras") is weights.named(None) is None


def test_verified_weights_are_kept_and_others_go(serve: Serve, tmp_path: Path) -> None:
    server = serve(sends(CONTENT))
    (tmp_path / "of another network.h5").touch()
    keep(tmp_path, server.url)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == CONTENT
    asked = len(server.asked)
    keep(tmp_path, server.url)
    assert len(server.asked) == asked
    keep(tmp_path, name=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (sends(b"!" * len(CONTENT)), f"has MD5 .* instead of the published {MD5[:16]}"),
        (sends(CONTENT[:-1]), "has MD5"),
        (sends(CONTENT[:-1], length=len(CONTENT)), "ended before the whole file had come"),
        (sends(CONTENT * 200), "sends more than"),
        (missing, "404"),
    ],
)
def test_weights_that_cannot_be_had_are_one_message_and_no_file(
    serve: Serve, tmp_path: Path, answer: Answer, said: str
) -> None:
    with pytest.raises(UserError, match=f"source_training.from: no source has {FILE}") as refused:
        keep(tmp_path, serve(answer).url)
    mirror, address = str(refused.value).splitlines()[1:-1]
    assert re.search(said, mirror)
    assert "Connection refused" in address
    assert f"On a machine that has the web: `headstart networks fetch {NAME}" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("silent", [False, True], ids=["broken", "silent"])
def test_download_goes_on_where_it_broke_or_fell_silent(
    serve: Serve, tmp_path: Path, silent: bool
) -> None:
    ranges = []

    def answer(handler: Handler, name: str, compressed: bool) -> None:
        if compressed:
            missing(handler, name, compressed)
            return
        asked = handler.headers.get("Range")
        ranges.append(asked)
        if asked is None:
            handler.send(CONTENT[:300_000], length=len(CONTENT))
            if silent:
                handler.wfile.flush()
                handler.server.stopping.wait(20)
            return
        begun = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send(CONTENT[begun:], status=206)

    keep(tmp_path, serve(answer).url, timeout=2)
    assert (tmp_path / FILE).read_bytes() == CONTENT
    chunk = 16 * 1024
    assert ranges == [None, f"bytes={300_000 // chunk * chunk}-"]


def test_server_that_sends_nothing_is_given_up_at_once(serve: Serve, tmp_path: Path) -> None:
    ranges = []

    def silent(handler: Handler, name: str, compressed: bool) -> None:
        ranges.append(name)
        handler.server.stopping.wait(20)

    with pytest.raises(UserError, match="no answer within 1 s"):
        keep(tmp_path / "none", serve(silent).url, timeout=1)
    assert len(ranges) == 1


def test_unpublished_sum_is_told_once_and_enforced_then(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = serve(sends(CONTENT))
    said = r"trusted on first use, over https:// only[\s\S]*one over http:// its SHA-256 in sha256"
    with pytest.raises(UserError, match=said):
        keep(tmp_path, plain.url, name=UNPUBLISHED)
    with pytest.raises(UserError, match=rf"fetch {UNPUBLISHED} --to FOLDER --input-size 96`"):
        keep(tmp_path, plain.url, name=UNPUBLISHED, input_size=(96, 96))
    with pytest.raises(UserError, match=r"has SHA-256 .* instead of the published 0000"):
        keep(tmp_path, plain.url, name=UNPUBLISHED, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []
    capsys.readouterr()
    keep(tmp_path, plain.url, name=UNPUBLISHED, sha256=SHA256)
    assert "trusted on first use" not in capsys.readouterr().err


def test_sum_of_another_network_is_refused_without_a_download_where_that_can_be_known(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(sends(CONTENT))
    # That of the network that was here before.
    (tmp_path / "before.h5").write_bytes(b"others")
    other = verify.sha256(tmp_path / "before.h5")
    for name in (NAME, UNPUBLISHED):
        with pytest.raises(UserError, match=r"sha256: is that of before\.h5, .* set it to null"):
            keep(tmp_path, server.url, name=name, sha256=other)
    with pytest.raises(UserError, match=r"sha256: ConvNeXtTiny is published with d547.* to null"):
        keep(tmp_path, server.url, name="ConvNeXtTiny", sha256=other)
    assert (server.asked, [path.name for path in tmp_path.iterdir()]) == ([], ["before.h5"])
    # Where Keras publishes an MD5 alone the file tells, which is then there.
    said = rf"sha256: is not that of {NAME}: .* has {SHA256}, and the MD5 .* set it to null"
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            keep(tmp_path, server.url, sha256="0" * 64)
        assert server.asked.count(FILE) == 1
    keep(tmp_path, server.url)
    keep(tmp_path, server.url, sha256=SHA256)
    assert server.asked.count(FILE) == 1


def test_weights_of_unknown_sum_are_downloaded_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(sends(CONTENT))
    keep(tmp_path, server.url, name=UNPUBLISHED, sha256=SHA256)
    asked = len(server.asked)
    server.answer = missing
    # Its mirror is not https, and holds it no longer; what is there was trusted when it came.
    keep(tmp_path, server.url, name=UNPUBLISHED)
    keep(tmp_path, name=UNPUBLISHED)
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == CONTENT
    assert len(server.asked) == asked
    # A sum that somebody gives is another matter.
    with pytest.raises(UserError, match=r"no source has [\s\S]*set it to null"):
        keep(tmp_path, name=UNPUBLISHED, sha256="0" * 64)


@pytest.mark.parametrize(
    "text",
    [
        f"{SHA256.upper()} *any.h5\r\n".encode(),
        f"{SHA256.upper()}  any.h5\n".encode("utf-16"),
        f"\ufeff{SHA256}".encode(),
    ],
)
def test_sum_beside_a_file_counts_however_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    name = weights.NETWORKS[UNPUBLISHED].published().name
    (tmp_path / "carried").mkdir()
    (tmp_path / "carried" / name).write_bytes(CONTENT)
    beside = tmp_path / "carried" / f"{name}.sha256"
    beside.write_bytes(text)
    monkeypatch.setenv("HOME", str(tmp_path))
    keep(tmp_path / "here", "~/carried", name=UNPUBLISHED)
    assert (tmp_path / "here" / name).read_bytes() == CONTENT
    # One that names another file's sum makes what is there no longer good.
    beside.write_text("0" * 64)
    with pytest.raises(UserError, match=r"has SHA-256 .* instead of the published 0000"):
        keep(tmp_path / "here", "~/carried", name=UNPUBLISHED)
    for wrong in (b"", b"\xff\xfe\x00", b"\xc3(", b"abc  any.h5"):
        beside.write_bytes(wrong)
        with pytest.raises(UserError, match=r"\.sha256: begins with no SHA-256 in hex; write"):
            keep(tmp_path / "new", "~/carried", name=UNPUBLISHED)
    # Without a mirror the folder that one stands in is none.
    beside.write_text(SHA256)
    monkeypatch.chdir(tmp_path / "carried")
    with pytest.raises(UserError, match="trusted on first use, over https:// only"):
        keep(tmp_path / "new", name=UNPUBLISHED)


def test_only_what_can_be_weights_is_trusted_on_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    network = dataclasses.replace(weights.NETWORKS[UNPUBLISHED], parameters=1000)
    monkeypatch.setitem(weights.NETWORKS, UNPUBLISHED, network)
    good = b"\x89HDF\r\n\x1a\n" + bytes(4000)
    with running(secured(certificate)) as start:
        for content in (b"<html>Log in</html>" * 1000, good[:3999], b""):
            with pytest.raises(UserError, match="is something else than the file, a web page or"):
                keep(tmp_path / "here", start(sends(content)).url, name=UNPUBLISHED)
            assert list((tmp_path / "here").iterdir()) == []
        keep(tmp_path / "here", start(sends(good)).url, name=UNPUBLISHED)
    (file,) = (tmp_path / "here").iterdir()
    assert file.read_bytes() == good


@pytest.mark.parametrize("alpha", ["1.3", "1.4"])
def test_wide_mobilenets_have_weights_for_one_size(alpha: str) -> None:
    wide = weights.NETWORKS[f"MobileNetV2_{alpha}"]
    assert wide.published((96, 96)).name == wide.published("auto").name
    assert f"_{alpha}_224_" in wide.published("auto").name
    assert "_0.75_96_" in weights.NETWORKS["MobileNetV2_0.75"].published((96, 96)).name


def test_fetched_weights_carry_their_sum_and_write_it_into_the_project(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new(tmp_path / "project", dataset="digits")
    monkeypatch.chdir(project.root)
    text = Path("params.yaml").read_text()
    text = text.replace("from: null", f"from: keras:{UNPUBLISHED}")
    assert text.count("input_size: auto") == 1
    Path("params.yaml").write_text(text)
    carried = tmp_path / "carried"
    name = weights.NETWORKS[UNPUBLISHED].published((96, 96)).name
    assert "_96_" in name
    carried.mkdir()
    (carried / name).write_bytes(CONTENT)
    (carried / f"{name}.sha256").write_text(f"{SHA256}  {name}\n")
    monkeypatch.setenv("HEADSTART_MIRROR", str(carried))
    lines = published.fetch(UNPUBLISHED, tmp_path / "other", input_size=(96, 96))
    # The project takes the weights for 224 pixels, another file.
    assert SHA256 in lines[0]
    assert "trained at" not in "".join(lines)
    assert Path("params.yaml").read_text() == text
    text = text.replace("input_size: auto", "input_size: [96, 96]")
    Path("params.yaml").write_text(text)
    lines = published.fetch(UNPUBLISHED, tmp_path / "here", input_size="auto")
    assert SHA256 in lines[0]
    assert (tmp_path / f"here/{name}.sha256").read_text() == f"{SHA256}  {name}\n"
    assert verify.sha256(tmp_path / "here" / name) == SHA256
    assert reading.load(Path("params.yaml")).source_training.sha256 == SHA256
    assert Path("params.yaml").read_text().count("#") == text.count("#")
    (carried / name).write_bytes(CONTENT[1:])
    with pytest.raises(UserError, match="has SHA-256"):
        published.fetch(UNPUBLISHED, tmp_path / "there", input_size=(96, 96))


def test_size_without_weights_of_its_own_is_told_and_one_that_is_none_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / FILE).write_bytes(CONTENT)
    monkeypatch.setenv("HEADSTART_MIRROR", str(tmp_path / "web"))
    lines = published.fetch(NAME, tmp_path / "here", input_size=(100, 100))
    assert "none were trained at 100 x 100 pixels: a run takes these, trained at 224" in lines
    words = ["fetch", NAME, "--to", str(tmp_path / "there"), "--input-size", "-5"]
    refused = CliRunner().invoke(published.commands, words)
    assert (refused.exit_code, "'--input-size'" in refused.output) == (2, True)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("from", "keras:VGG1", "is not among the published networks; there are MobileNetV2_0.35"),
        ("from", "models/own/mine.pt", "is neither keras:NAME"),
        ("preprocessing", "imagenet", "allowed are auto, tf, torch, caffe, raw, or"),
        ("preprocessing", "[1.0, 1.0]", "allowed are auto, tf"),
        ("input_size", "96", "allowed are auto, or"),
        ("sha256", "abc", "source_training.sha256"),
        ("sha256", f'"{"0" * 64}"', "DVC keeps the hash of a file of one's own"),
    ],
)
def test_what_no_network_can_be_adopted_by_is_refused(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    text = Path(__file__).parents[2].joinpath("params.yaml").read_text()
    head, rest = text.split("source_training:", 1)
    lines = [
        f"  {key}: {value}" if line.startswith(f"  {key}:") else line for line in rest.split("\n")
    ]
    with pytest.raises(UserError, match=said):
        reading.parse(f"{head}source_training:" + "\n".join(lines), "params.yaml")


def test_networks_are_listed_with_what_they_take_and_weigh(
    capsys: pytest.CaptureFixture[str],
) -> None:
    published.table()
    said = capsys.readouterr().out
    for name in fields.APPLICATIONS:
        assert name in said
    assert "27,820,128" in said
    assert "8.91" in said
    with pytest.raises(UserError, match=r"there is no network VGG16; there are MobileNetV2_0.35"):
        published.fetch("VGG16", Path(os.devnull), input_size="auto")
