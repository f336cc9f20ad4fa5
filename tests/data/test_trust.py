"""Files whose sums nobody knew beforehand: trusted once over https, written down, then enforced."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from published import Handler, missing, running, secured, write_certificate

from headstart.core.errors import UserError
from headstart.data import catalogue, download, web

CONTENT = {f"unknown-{number}": bytes([number]) * 50 for number in range(4)}
UNKNOWN = catalogue.PublishedDataset(
    name="unknown",
    files=tuple(catalogue.PublishedFile(name, 50, None) for name in CONTENT),
    classes=("a", "b"),
)


class Place:
    """What a server holds, and where it sends those who ask for it."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.onward = ""
        self.url = ""

    def __call__(self, handler: Handler, name: str, compressed: bool) -> None:
        if self.onward:
            handler.send_response(302)
            handler.send_header("Location", f"{self.onward}{name}{'.gz' * compressed}")
            handler.end_headers()
        elif compressed:
            missing(handler, name, compressed)
        else:
            handler.send(self.content[name])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("certificate"))


Serve = Callable[..., Place]


@pytest.fixture
def serve(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setattr(web, "_BACKOFF_SECONDS", ())
    with running(secured(certificate)) as start:

        def serving(*, secure: bool = True) -> Place:
            place = Place()
            place.url = start(place, secure=secure).url
            return place

        yield serving


def get(tmp_path: Path, *places: str) -> list[download.Arrival]:
    return download.download(
        UNKNOWN,
        places,
        tmp_path / "raw",
        environment={},
        timeout=5,
        trusted=tmp_path / "checksums.json",
    )


def refusal(tmp_path: Path, *places: str) -> str:
    with pytest.raises(UserError) as refused:
        get(tmp_path, *places)
    return str(refused.value)


def test_first_download_over_https_is_written_down_and_enforced_from_then_on(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    get(tmp_path, server.url)
    lock = json.loads((tmp_path / "checksums.json").read_text())
    assert sorted(lock["unknown"]) == sorted(CONTENT)
    assert (tmp_path / "raw/unknown-2").read_bytes() == CONTENT["unknown-2"]

    (tmp_path / "raw/unknown-2").unlink()
    server.content["unknown-2"] = b"!" * 50
    assert "unknown-2: has SHA-256" in refusal(tmp_path, server.url)
    assert not (tmp_path / "raw/unknown-2").exists()
    # What the lock file knows may come over any road.
    plain = serve(secure=False)
    assert get(tmp_path, plain.url)[2].source == plain.url
    assert json.loads((tmp_path / "checksums.json").read_text()) == lock


def test_damaged_file_on_disk_is_not_trusted_again(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    get(tmp_path, server.url)
    (tmp_path / "raw/unknown-1").write_bytes(b"?" * 50)
    assert [arrival.source for arrival in get(tmp_path, server.url)].count(None) == 3
    assert (tmp_path / "raw/unknown-1").read_bytes() == CONTENT["unknown-1"]


def test_nothing_is_trusted_over_plain_http_or_from_a_folder(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "folder" / name).write_bytes(content)
    for place in (serve(secure=False).url, str(tmp_path / "folder")):
        assert "trusted on first use, over https:// only" in refusal(tmp_path, place)
    assert not (tmp_path / "checksums.json").exists()
    assert list((tmp_path / "raw").iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert "not there, neither as it is nor as .gz" in refusal(tmp_path, str(tmp_path / "empty"))


def test_https_that_sends_on_to_http_is_not_trusted(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.onward = serve(secure=False).url
    assert "sends on to an address without https" in refusal(tmp_path, server.url)
    assert list((tmp_path / "raw").iterdir()) == []


def test_certificate_that_nobody_vouches_for_is_refused(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "certificate" in refusal(tmp_path, server.url).lower()


def test_other_dataset_under_the_same_file_names_is_not_trusted(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST and its kin share their names: the address of one must not pass for another."""
    digest = hashlib.sha256(CONTENT["unknown-0"]).hexdigest()
    known = catalogue.PublishedDataset(
        name="known",
        files=(
            catalogue.PublishedFile("unknown-0", 50, digest),
            *UNKNOWN.files[1:],
        ),
        classes=("a", "b"),
    )
    monkeypatch.setitem(catalogue.DATASETS, "known", known)
    assert "unknown-0: holds the file of known: take another address" in refusal(
        tmp_path, serve().url
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"unknown": {"unknown-0": "abc"}}', '{"unknown": 1}'])
def test_damaged_lock_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "checksums.json").write_text(text)
    assert "checksums.json: " in refusal(tmp_path, "https://127.0.0.1:1/")
    assert (tmp_path / "checksums.json").read_text() == text


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_published_sources_of_unverified_datasets_are_https(name: str) -> None:
    dataset = catalogue.DATASETS[name]
    assert all(source.startswith("https://") for source in dataset.sources)
    assert len(dataset.classes) == 10
