"""Datasets: kept under a name, told, removed; one job's is never another's."""

import errno
from pathlib import Path

import httpx
import msgspec
import pytest

from more_server.errors import BadInput, Conflict, DatasetNotFound
from more_server.lessons.datasets import Datasets
from more_server.settings import Settings
from tests.web.resuming import Running

ABOUT = {
    "version": 1, "name": "whatever", "language": "en", "speakers": ["anna", "bert"], "clips": 4, "seconds": 12.5,
    "held_out": 1, "source": "/somewhere", "sample_rate": 24_000,
}  # fmt: skip
REPORT = {
    "recordings": 5, "recorded_seconds": 20.0, "speech_seconds": 15.0, "refused_clips": 1, "refused_seconds": 2.0,
    "refused": {"noise": 1}, "advice": ["record more"], "bars": {}, "dataset": ABOUT,
}  # fmt: skip


def made(folder: Path) -> Path:
    """A dataset as more_train leaves it, but for its clips."""
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_bytes(msgspec.json.encode(ABOUT))
    (folder / "report.json").write_bytes(msgspec.json.encode(REPORT))
    return folder


def test_a_dataset_is_kept_under_one_name(settings: Settings, tmp_path: Path) -> None:
    datasets = Datasets(settings)
    assert datasets.list_all() == ([], [])
    datasets.add(made(tmp_path / "a"), "reader", "job-1")
    assert not (tmp_path / "a").exists()
    datasets.add(tmp_path / "a", "reader", "job-1")  # taken up again after it was done
    with pytest.raises(Conflict, match="there is a dataset reader already"):
        datasets.add(made(tmp_path / "b"), "reader", "job-2")
    assert (tmp_path / "b" / "dataset.json").exists()
    assert [found.name for found in datasets.list_all()[0]] == ["reader"]
    (datasets.folder("reader") / "dataset.json").write_bytes(b"{}")
    found, problems = datasets.list_all()
    assert (found, len(problems)) == ([], 1)
    assert problems[0].startswith("reader/dataset.json cannot be read")
    for name in ("Reader", "uploads", ".locks", "../x", ""):
        with pytest.raises(BadInput, match="cannot be a dataset's"):
            datasets.check_free(name)
        with pytest.raises(DatasetNotFound, match="there are: reader"):
            datasets.folder(name)


def test_jobs_and_datasets_may_lie_on_two_disks(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, jobs = Path.rename, tmp_path / "jobs"

    def rename(path: Path, target: Path) -> Path:
        if path.is_relative_to(jobs) != Path(target).is_relative_to(jobs):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    datasets = Datasets(settings)
    half = settings.datasets_dir / ".reader.partial-0123"  # of a server that was killed while it copied
    half.mkdir(parents=True)
    datasets.add(made(jobs / "job-1" / "made"), "reader", "job-1")
    assert datasets.find("reader").clips == 4
    assert not (jobs / "job-1" / "made").exists()
    assert not half.exists()


def test_over_the_api(tmp_path: Path) -> None:
    datasets = Datasets(Settings(data_dir=tmp_path))
    for name in ("busy", "free"):
        datasets.add(made(tmp_path / name), name, "job")
    server = Running(tmp_path, users="busy")
    try:
        over(server.http)
    finally:
        server.close()
    assert [path.name for path in (tmp_path / "datasets").iterdir() if path.name[0] != "."] == ["busy"]


def over(http: httpx.Client) -> None:
    told = {"language": "en", "speakers": ["anna", "bert"], "clips": 4, "seconds": 12.5, "held_out": 1}
    assert http.get("/v1/admin/datasets").json() == {
        "object": "list", "problems": [], "data": [{"name": name} | told for name in ("busy", "free")]
    }  # fmt: skip
    report = {name: value for name, value in REPORT.items() if name not in ("bars", "dataset")}
    assert http.get("/v1/admin/datasets/free").json() == {"name": "free"} | told | {"report": report}
    refused = http.delete("/v1/admin/datasets/busy")
    assert refused.status_code == 409
    assert refused.json()["error"]["message"].startswith("the job job-busy uses the dataset busy")
    assert http.delete("/v1/admin/datasets/free").json() == {"name": "free", "deleted": True}
    for response in (http.get("/v1/admin/datasets/free"), http.delete("/v1/admin/datasets/free")):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "dataset_not_found")
