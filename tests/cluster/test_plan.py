"""What is worked out without Ray: the config of Serve, the token, and what is said where something does not fit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from more_server.cluster.node import Node, _command, read_token, token_file
from more_server.cluster.plan import Plan, config
from more_server.errors import SettingsError
from more_server.settings import Settings
from more_server.tables import EngineSettings


def deployment(plan: Plan, **engine: Any) -> dict[str, Any]:
    (application,) = config(plan, Settings(engine=EngineSettings(**engine)))["applications"]
    (made,) = application["deployments"]
    return made


def test_the_numbers_come_from_the_engine():
    made = deployment(Plan(least=2, most=5, gpus=1), max_concurrency=20, queue=10)
    assert made["autoscaling_config"]["min_replicas"] == 2
    assert made["autoscaling_config"]["max_replicas"] == 5
    assert made["autoscaling_config"]["target_ongoing_requests"] == 15  # three quarters of those spoken at a time
    assert made["max_ongoing_requests"] > 30  # the engine itself refuses beyond 30, with 429
    assert made["ray_actor_options"] == {"num_cpus": 1.0, "num_gpus": 1.0}


@pytest.mark.parametrize(
    ("plan", "engine", "slots"),
    [
        (Plan(), {}, 8),
        (Plan(gpus=0.5), {}, 64),
        (Plan(), {"slots": 4}, 4),
        (Plan(), {"slots": 4, "max_concurrency": 2}, 2),
        (Plan(slots=3), {"slots": 4, "max_concurrency": 2}, 3),
        (Plan(slots=1), {}, 4 / 3),  # a share of one request is none
    ],
)
def test_slots(plan: Plan, engine: dict[str, int], slots: float):
    target = deployment(plan, **engine)["autoscaling_config"]["target_ongoing_requests"]
    assert target == pytest.approx(0.75 * slots)


def test_a_replica_has_the_threads_that_are_set():
    assert deployment(Plan(), threads=3)["ray_actor_options"] == {"num_cpus": 3}
    assert deployment(Plan(cpus=1.5), threads=3)["ray_actor_options"] == {"num_cpus": 1.5}


@pytest.mark.parametrize("device", ["cuda:1", "cpu"])
def test_a_device_that_is_not_rays_to_choose(device: str):
    with pytest.raises(SettingsError, match=r"engine\.device"):
        deployment(Plan(gpus=1), device=device)


def test_the_replica_knows_what_proxies_bind():
    made = config(Plan(host="0.0.0.0", port=9000), Settings())
    assert made["http_options"]["host"] == made["applications"][0]["args"]["host"] == "0.0.0.0"
    assert made["http_options"]["port"] == 9000


def test_serve_takes_the_config():
    schema = pytest.importorskip("ray.serve.schema", reason="pip install 'more-server[cluster]'")
    schema.ServeDeploySchema.model_validate(config(Plan(gpus=0.5), Settings()))


def test_addresses_and_what_is_told_to_nobody_are_always_said():
    first, second = _command(Node()), _command(Node(host="10.0.0.2", join="10.0.0.1:6379", gpus=0))
    assert {"--head", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"} <= set(first)
    assert {"--address=10.0.0.1:6379", "--node-ip-address=10.0.0.2", "--num-gpus=0"} <= set(second)
    assert all("--disable-usage-stats" in command for command in (first, second))


def test_a_token_that_cannot_serve(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(SettingsError, match="copy it from"):
        read_token(settings)
    path = token_file(settings)
    path.parent.mkdir()
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match=r"mode 644.*chmod 600"):
        read_token(settings)
    path.chmod(0o600)
    assert read_token(settings) == "secret"


def command(tmp_path: Path, *arguments: str, without_ray: bool = False) -> subprocess.CompletedProcess[str]:
    hidden = "import sys; sys.modules['ray'] = None; " if without_ray else ""
    code = f"{hidden}from more_server.cli import main; main({['cluster', *arguments]!r})"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"MORE_DATA_DIR": str(tmp_path)}, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["up", "config", "deploy", "status", "down"])
def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, name: str):
    done = command(tmp_path, name, without_ray=True)
    assert done.returncode == 1
    assert "pip install 'more-server[cluster]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("config", "--least", "0"), "--least"),
        (("config", "--least", "3", "--most", "2"), "at least 3 replicas and at most 2"),
        (("config", "--port", "70000"), "--port"),
        (("up", "--port", "0"), "--port"),
        (("deploy", "missing.yaml"), "missing.yaml cannot be read"),
        (("deploy", "broken.yaml"), "is no config of Serve"),
        (("deploy", "broken.yaml", "--least", "2"), "says all of it"),
        (("status",), "copy it from"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(tmp_path: Path, arguments: tuple[str, ...], says: str):
    pytest.importorskip("ray", reason="pip install 'more-server[cluster]'")
    (tmp_path / "broken.yaml").write_text("- [")
    done = command(tmp_path, *arguments)
    assert done.returncode == 1, done.stdout
    assert says in done.stderr


def test_the_file_is_yaml(tmp_path: Path):
    pytest.importorskip("ray", reason="pip install 'more-server[cluster]'")
    done = command(tmp_path, "config", "--least", "2", "--cpus", "1", "--slots", "8")
    assert done.returncode == 0, done.stderr
    assert msgspec.yaml.decode(done.stdout) == config(Plan(least=2, most=2, cpus=1, slots=8), Settings())
