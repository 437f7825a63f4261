"""The digits: what is read is what it should be, and the splits do not touch."""

import gzip
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sweep.errors import BadInput, DataDamaged, DataUnavailable
from sweep.workload import data, digits
from sweep.workload.classes import stratified_rows
from sweep.workload.digits import BUNDLED, read_pair

CONFIG = {
    "_target_": "sweep.workload.digits.mnist5k",
    "n_train": None,
    "n_val": 1000,
    "split_seed": 0,
}


def rows_of(split, **changes):
    """Identify the samples of a split by their bytes."""
    images, labels = digits.mnist5k(SimpleNamespace(**{**CONFIG, **changes}), split)
    return {image.numpy().tobytes() for image in images}, labels


def test_bundled_digits_are_the_first_500_of_each_class():
    images, labels = read_pair(BUNDLED, "mnist5k", "train")
    assert images.shape == (5000, 28, 28)
    assert (labels == np.repeat(np.arange(10), 500)).all()


def test_splits_are_stratified_and_disjoint():
    parts = {split: rows_of(split) for split in ("train", "val", "test")}
    assert [len(labels) for _, labels in parts.values()] == [3000, 1000, 1000]
    for _, labels in parts.values():
        assert len(set(labels.bincount().tolist())) == 1
    train, val, test = (samples for samples, _ in parts.values())
    assert not train & val and not train & test and not val & test


def test_split_seed_moves_validation_but_never_the_test_set():
    assert rows_of("val", split_seed=0)[0] != rows_of("val", split_seed=1)[0]
    assert rows_of("test", split_seed=0)[0] == rows_of("test", split_seed=1)[0]


def test_n_train_takes_a_stratified_part_of_the_same_training_set():
    part, labels = rows_of("train", n_train=1005)
    whole, _ = rows_of("train")
    assert part < whole and len(labels) == 1005
    assert set(labels.bincount().tolist()) == {100, 101}


@pytest.mark.parametrize("change", [{"n_train": 3001}, {"n_train": 0}, {"n_val": 4000}])
def test_impossible_splits_are_refused(change):
    with pytest.raises(BadInput, match=f"data.{next(iter(change))}="):
        rows_of("train", **change)


def test_samples_are_normalised_on_the_way_out():
    loaded = data.load_data(CONFIG)
    x, _ = loaded.train[torch.arange(len(loaded.train))]
    assert loaded.train.inputs.dtype == torch.uint8
    assert abs(x.mean()) < 1e-4 and abs(x.std() - 1) < 1e-4
    assert len(loaded.train_part) == len(loaded.val)
    assert (loaded.input_shape, loaded.n_classes) == ((1, 28, 28), 10)


def test_search_does_not_read_the_test_set(monkeypatch):
    asked = []
    real = digits.mnist5k
    monkeypatch.setattr(digits, "mnist5k", lambda c, split: asked.append(split) or real(c, split))
    data.load_data({**CONFIG, "split_seed": 5})
    assert asked == ["train", "val"]


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def packed(tmp_path):
    """A folder with the bundled digits' own files, as a stand-in for a download."""
    for path in BUNDLED.glob("*.gz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_packed_and_unpacked_files_read_alike(packed):
    before = read_pair(packed, "mnist5k", "train")
    for path in packed.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for one, other in zip(before, read_pair(packed, "mnist5k", "train"), strict=True):
        assert (one == other).all()


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda c: c[:-100], lambda c: b"", lambda c: b"<html>404</html>"],
    ids=["flipped", "cut", "empty", "html"],
)
@pytest.mark.parametrize("unpacked", [False, True])
def test_damaged_files_are_refused_by_name(packed, damage, unpacked):
    path = packed / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    if unpacked:
        path.unlink()
        path, content = path.with_suffix(""), gzip.decompress(content)
    path.write_bytes(damage(content))
    with pytest.raises(DataDamaged, match=path.name):
        read_pair(packed, "mnist5k", "train")


def test_without_files_and_download_the_data_are_unavailable(tmp_path):
    config = SimpleNamespace(root=str(tmp_path), download=False, n_val=10, n_train=None)
    with pytest.raises(DataUnavailable, match="MNIST"):
        digits.mnist(config, "train")


def test_swapped_files_are_refused_by_name(packed):
    images, labels = (packed / f"train-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1"))
    content = images.read_bytes(), labels.read_bytes()
    images.write_bytes(content[1]), labels.write_bytes(content[0])
    with pytest.raises(DataDamaged, match=images.name):
        read_pair(packed, "mnist5k", "train")


def test_half_unpacked_files_are_refused_although_the_packed_ones_are_whole(packed):
    path = packed / "train-labels-idx1-ubyte.gz"
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes())[:2000])
    with pytest.raises(DataDamaged, match=path.stem):
        read_pair(packed, "mnist5k", "train")


@pytest.fixture
def mirror(monkeypatch):
    """A server on loopback that torchvision takes for MNIST's; returns what it sends, by name."""
    import torchvision

    packed = {part: (BUNDLED / f"train-{part}-ubyte.gz").read_bytes() for part in PARTS}
    files = {
        f"{half}-{part}-ubyte.gz": packed[part] for half in ("train", "t10k") for part in PARTS
    }
    md5 = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    for name, content in files.items():
        sha = hashlib.sha256(gzip.decompress(content)).hexdigest()
        monkeypatch.setitem(digits.checksums(), f"MNIST/{name.removesuffix('.gz')}", sha)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(files[self.path[1:]])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", md5)
        yield files
        server.shutdown()


PARTS = ("images-idx3", "labels-idx1")


def test_a_download_is_verified_and_read_again_without_one(mirror, tmp_path):
    root = tmp_path / "new" / "data"
    folder = digits.folder_of("MNIST", root, download=True)
    assert folder == root / "MNIST" / "raw"
    assert list(root.iterdir()) == [root / "MNIST"]  # nothing temporary is left
    for one, other in zip(
        read_pair(folder, "MNIST", "train"), read_pair(BUNDLED, "mnist5k", "train"), strict=True
    ):
        assert (one == other).all()
    mirror.clear()
    assert digits.folder_of("MNIST", root, download=True) == folder


def test_a_download_completes_what_is_there_in_part(mirror, tmp_path):
    folder = digits.folder_of("MNIST", tmp_path, download=True)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert digits.folder_of("MNIST", tmp_path, download=True) == folder
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("damage", [flip, lambda c: c[:-100], lambda c: b"<html>404</html>"])
def test_a_download_that_is_damaged_leaves_nothing(mirror, tmp_path, damage):
    name = "t10k-labels-idx1-ubyte.gz"  # the last one
    mirror[name] = damage(mirror[name])
    with pytest.raises(DataUnavailable, match="cannot be downloaded"):
        digits.folder_of("MNIST", tmp_path / "new" / "data", download=True)
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_at_once_are_safe(mirror, tmp_path, monkeypatch):
    meet, real = Barrier(2), digits._read_idx

    def read(*args):  # both have downloaded before one of them puts files in place
        if args[2].startswith("train-images"):
            meet.wait(60)
        return real(*args)

    monkeypatch.setattr(digits, "_read_idx", read)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(digits.folder_of, "MNIST", tmp_path, True) for _ in range(2)]
        folder, _ = [job.result() for job in jobs]
    monkeypatch.undo()
    assert len(list(folder.iterdir())) == 4 and list(tmp_path.iterdir()) == [tmp_path / "MNIST"]


PAYLOADS = """
    os.system os.popen os.remove os.renames os.execvp subprocess.run subprocess.Popen
    subprocess.call shutil.rmtree shutil.copyfile shutil.move pickle.loads pickle.load torch.load
    builtins.eval builtins.exec builtins.open builtins.print runpy.run_path pty.spawn
    socket.create_connection urllib.request.urlopen webbrowser.open ctypes.CDLL pathlib.Path
    importlib.import_module code.interact timeit.timeit tempfile.mkdtemp hydra.utils.instantiate
    operator.attrgetter numpy.load optuna.create_study no.such.module nothing
"""


@pytest.mark.parametrize("target", PAYLOADS.split())
def test_a_payload_is_refused_and_not_called(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    for split in ("train", tmp_path / "x"):
        with pytest.raises(BadInput, match=f"data._target_={target}: "):
            data.read_split(
                {"_target_": target, "cmd": f"touch {tmp_path}/ran", "hook": seen}, split
            )
    assert not seen and list(tmp_path.iterdir()) == []


def test_a_function_of_other_parameters_is_no_data_set(monkeypatch):
    called = []
    monkeypatch.setattr(data, "three", lambda a, b, c: called.append(1), raising=False)
    monkeypatch.setattr(data, "many", lambda *a: called.append(1), raising=False)
    monkeypatch.setattr(data, "named", lambda a, *, b=0: called.append(1), raising=False)
    for name in ("three", "many", "named"):
        with pytest.raises(BadInput, match="must be a function"):
            data.read_split({"_target_": f"sweep.workload.data.{name}"}, "train")
    assert not called


FLOATS, CLASSES = torch.zeros(4, 3), torch.tensor([0, 1, 0, 1])
STRANGE = {
    "no samples": (FLOATS[:0], CLASSES[:0]),
    "one number": (torch.tensor(1.0), torch.tensor(1)),
    "of another length": (FLOATS, CLASSES[:3]),
    "a class below 0": (FLOATS, CLASSES - 1),
    "nothing that counts": (FLOATS, torch.full_like(CLASSES, -100)),
    "NaN": (FLOATS / 0, CLASSES),
    "complex": (FLOATS.to(torch.complex64), CLASSES),
    "sparse": (FLOATS.to_sparse(), CLASSES),
    "meta": (FLOATS.to("meta"), CLASSES),
    "no tensor": (FLOATS.tolist(), CLASSES),
    "text": (np.array(["a"] * len(CLASSES)), CLASSES),
    "no targets": (FLOATS, None),
    "one thing": (FLOATS,),
}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_no_data_is_refused_by_name(monkeypatch, split, strange):
    good = FLOATS, CLASSES
    splits = {"train": good, "val": good, "test": good, split: STRANGE[strange]}
    monkeypatch.setattr(data, "own", lambda config, split: splits[split], raising=False)
    config = {"_target_": "sweep.workload.data.own", "case": f"{strange} {split}"}
    with pytest.raises(BadInput, match=r"data\._target_=sweep\.workload\.data\.own: ") as caught:
        data.load_test_split(config, data.load_data(config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_only_the_test_set_may_be_missing(monkeypatch, split):
    splits = {"train": (FLOATS, CLASSES), "val": (FLOATS, CLASSES), "test": (FLOATS, CLASSES)}
    monkeypatch.setattr(
        data, "own", lambda config, name: {**splits, split: None}[name], raising=False
    )
    config = {"_target_": "sweep.workload.data.own", "case": f"no {split}"}
    if split == "test":
        assert data.load_test_split(config, data.load_data(config)) is None
    else:
        with pytest.raises(BadInput, match=r"must return .* not a NoneType"):
            data.load_data(config)


@pytest.mark.parametrize("other", [(FLOATS.double(), CLASSES), (torch.zeros(4, 2), CLASSES)])
@pytest.mark.parametrize("split", ["val", "test"])
def test_splits_of_other_samples_are_refused(monkeypatch, split, other):
    splits = {"train": (FLOATS, CLASSES), "val": (FLOATS, CLASSES), "test": (FLOATS, CLASSES)}
    splits[split] = other
    monkeypatch.setattr(data, "own", lambda config, split: splits[split], raising=False)
    config = {"_target_": "sweep.workload.data.own", "case": f"{split} {other[0].dtype}"}
    with pytest.raises(BadInput, match=f"of '{split}' .*; they must be alike"):
        data.load_test_split(config, data.load_data(config))


def test_a_class_that_only_the_test_set_has_is_refused(monkeypatch):
    splits = {"train": (FLOATS, CLASSES), "val": (FLOATS, CLASSES), "test": (FLOATS, CLASSES + 1)}
    monkeypatch.setattr(data, "own", lambda config, split: splits[split], raising=False)
    config = {"_target_": "sweep.workload.data.own", "case": "classes"}
    with pytest.raises(BadInput, match="classes of 'test' must be below 2"):
        data.load_test_split(config, data.load_data(config))


def test_what_ends_the_program_is_refused_instead(tmp_path, monkeypatch):
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(5)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match="cannot be imported: it exits"):
        data.read_split({"_target_": "leaves_at_once.read"}, "train")
    monkeypatch.setattr(data, "own", lambda config, split: sys.exit(7), raising=False)
    with pytest.raises(BadInput, match="SystemExit: 7"):
        data.read_split({"_target_": "sweep.workload.data.own"}, "train")


def test_gradients_are_left_behind_and_one_class_is_none(monkeypatch):
    grown = FLOATS.clone().requires_grad_()
    monkeypatch.setattr(data, "own", lambda config, split: (grown * 2, CLASSES), raising=False)
    assert not data.load_data(
        {"_target_": "sweep.workload.data.own", "case": "grown"}
    ).train.inputs.requires_grad
    monkeypatch.setattr(data, "own", lambda config, split: (FLOATS, 0 * CLASSES), raising=False)
    with pytest.raises(BadInput, match="has only class 0"):
        data.load_data({"_target_": "sweep.workload.data.own", "case": "alone"})


def test_stratified_is_nested():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    few = stratified_rows(labels, 20, np.random.default_rng(1))
    many = stratified_rows(labels, 60, np.random.default_rng(1))
    assert set(few) < set(many)
    assert np.bincount(labels[few]).tolist() == [10, 6, 4]


def test_a_test_set_that_cannot_be_read_is_seen_before_anything_is_trained(
    sweep, tmp_path, monkeypatch
):
    real = data.read_split

    def read(config, split, *read):
        if split == "test":
            raise BadInput("data._target_=mine: the test file is empty")
        return real(config, split, *read)

    monkeypatch.setattr(data, "read_split", read)
    data.load_once.cache_clear()
    with pytest.raises(BadInput, match="the test file is empty"):
        sweep("dropout=0.0,0.5", "study.confirm=true")
    assert not (tmp_path / "runs").exists()
    assert sweep("dropout=0.0,0.5").is_dir()  # without a confirmation it is not read


def test_every_data_set_takes_the_settings_of_all(sweep):
    usual, noisy, wider = (
        json.loads((sweep("dropout=0.0,0.5", *more) / "answer.json").read_text())["trials"]
        for more in ([], ["data.augment=tests.workload.tasks.noisy"], ["data.n_classes=12"])
    )
    losses = [trials[0]["metrics"]["val_loss"]["mean"] for trials in (usual, noisy, wider)]
    assert len(set(losses)) == 3
