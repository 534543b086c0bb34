"""Published weights arrive once, verified, or not at all; from a server of our own."""

import dataclasses
import hashlib
import http.server
import os
import threading

import pytest
import torchvision

import jaxattr_models as models
from jaxattr_models import CheckpointError, _registry

CONTENT = bytes(range(256)) * 9000  # More than one block of the download.
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        end = len(CONTENT) // 2 if self.path == "/cut" else len(CONTENT)
        self.wfile.write(CONTENT[:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Publishes weights "test" of network "net" at a path of the server."""
    monkeypatch.setenv("JAXATTR_HOME", str(tmp_path / "cache"))

    def at(path, sha256=DIGEST[:8]):
        url = f"http://127.0.0.1:{server.server_port}{path}"
        entry = _registry.CATALOGUE["mc3_18", "kinetics400"]
        entry = dataclasses.replace(entry, filename="net-0.pth", url=url, sha256=sha256)
        monkeypatch.setitem(_registry.CATALOGUE, ("net", "test"), entry)
        return tmp_path / "cache"

    return at


@pytest.mark.parametrize("path", ["/whole", "/unsized"])
def test_downloads_once(publish, server, path):
    folder, seen = publish(path), []
    file = models.fetch("net", "test", progress=lambda *counts: seen.append(counts))
    assert file == folder / "net-0.pth"
    assert file.read_bytes() == CONTENT
    assert os.listdir(folder) == ["net-0.pth"]
    total = len(CONTENT) if path == "/whole" else None
    assert seen[-1] == (len(CONTENT), total)
    assert len(seen) > 1
    assert models.fetch("net", "test") == file
    assert server.requests == [path]


@pytest.mark.parametrize("path", ["/cut", "/missing"])
def test_a_failed_download_leaves_nothing(publish, path):
    folder = publish(path)
    with pytest.raises(CheckpointError, match=f"http://127.0.0.1.*{path}"):
        models.fetch("net", "test")
    assert os.listdir(folder) == []


def test_another_file_is_refused(publish):
    folder = publish("/whole", sha256="00000000")
    with pytest.raises(CheckpointError, match=rf"{DIGEST[:8]}, not 00000000"):
        models.fetch("net", "test")
    assert os.listdir(folder) == []


def test_an_interrupted_download_leaves_nothing(publish):
    folder = publish("/whole")

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.fetch("net", "test", progress=interrupt)
    assert os.listdir(folder) == []


def test_without_a_network_says_url_and_folder(publish, server, monkeypatch):
    folder = publish("/whole")
    entry = _registry.CATALOGUE["net", "test"]
    url = "http://127.0.0.1:9/net-0.pth"  # The discard port: nobody answers.
    monkeypatch.setitem(
        _registry.CATALOGUE, ("net", "test"), dataclasses.replace(entry, url=url)
    )
    with pytest.raises(CheckpointError, match=f"{url}.*{folder} as net-0.pth"):
        models.fetch("net", "test")


def test_a_file_put_there_by_hand_is_verified(publish, server):
    folder = publish("/whole")
    folder.mkdir()
    (folder / "net-0.pth").write_bytes(CONTENT)
    assert models.fetch("net", "test") == folder / "net-0.pth"
    (folder / "net-0.pth").write_bytes(CONTENT[1:])
    with pytest.raises(CheckpointError, match=r"net-0\.pth.*not the published file"):
        models.fetch("net", "test")
    assert server.requests == []


def test_a_folder_that_cannot_be_made_is_named(publish, tmp_path, monkeypatch):
    publish("/whole")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("JAXATTR_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(CheckpointError, match=str(tmp_path / "file" / "cache")):
        models.fetch("net", "test")


def test_unknown_names_list_the_known(monkeypatch, tmp_path):
    with pytest.raises(CheckpointError, match=r"'imagenet'.*kinetics400"):
        models.fetch("r3d_18", "imagenet")
    monkeypatch.delenv("JAXATTR_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _registry.cache_folder() == tmp_path / ".cache" / "jaxattr"


@pytest.mark.parametrize("name", ["r2plus1d_18", "r3d_18", "mc3_18"])
def test_registry_is_torchvisions(name):
    official = torchvision.models.get_model_weights(name).KINETICS400_V1
    entry = models.models()[name].weights["kinetics400"]
    metrics = official.meta["_metrics"]["Kinetics-400"]
    assert entry.url == official.url
    assert official.url.endswith(f"-{entry.sha256}.pth")
    assert entry.filename == official.url.rsplit("/", 1)[1]
    assert (100 * entry.top1, 100 * entry.top5) == pytest.approx(
        (metrics["acc@1"], metrics["acc@5"])
    )
    assert entry.megabytes == pytest.approx(official.meta["_file_size"], abs=0.1)


def test_the_shipped_weights_are_verified_too(tmp_path, monkeypatch):
    entry = _registry.CATALOGUE["evidence", "evidence"]
    path = models.fetch("evidence", "evidence")
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / entry.filename).write_bytes(path.read_bytes()[:-1] + b"?")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match=r"evidence\.safetensors.*Install"):
        models.fetch("evidence", "evidence")
    with pytest.raises(CheckpointError, match="not the published file"):
        models.evidence()
