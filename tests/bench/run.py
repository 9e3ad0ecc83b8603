"""The parts of a benchmark one after the other, a table of what they found, and one JSON line at the end."""

import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from more_server.xtts.config import read_config
from tests.bench import jobs, ours, post, served, theirs
from tests.bench.machine import OtherWork, PartFailed, cpu_name, describe, in_a_process, usable_cores, versions
from tests.bench.options import Options
from tests.bench.report import show, show_soak
from tests.bench.workload import check_lengths


def main(argument: str) -> None:
    """Measure what the options, JSON, ask for; status 1 when a part of it failed."""
    options = msgspec.json.decode(argument, type=Options)
    # As an exception, so that the temporary folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="more-bench-") as temporary:
        try:
            found = (soaked if options.soak else measure)(options, Path(temporary))
        except (PartFailed, ValueError) as error:
            sys.exit(f"bench: {error}")
    if not options.json_only:
        (show_soak if options.soak else show)(found)
    print(msgspec.json.encode(found).decode(), flush=True)
    sys.exit(1 if found["failures"] else 0)


def measure(options: Options, data_dir: Path) -> dict[str, Any]:
    """Everything asked for, by part. A part that fails stands under `failures` and leaves the others alone."""
    folder = _model(options, data_dir)
    failures: dict[str, str] = {}
    threads = options.engine["threads"] or usable_cores()

    def part(name: str, wanted: bool, work: Callable[[], dict[str, Any]]) -> Any:
        others = OtherWork()
        try:
            return {**work(), "others_cores": others.cores()} if wanted else None
        except Exception as error:  # noqa: BLE001 - the other parts go on
            failures[name] = str(error).strip()
            print(f"✗ {name} failed: {error}", file=sys.stderr, flush=True)
            return None

    print("· machine: memory", file=sys.stderr, flush=True)
    device, precision = options.engine["device"], options.engine["precision"]
    machine = in_a_process(describe, device, threads)
    engine = part("engine", True, lambda: in_a_process(ours.measure, folder, options))
    # What the engine spoke, so that coqui speaks no more and no less.
    codes = engine["streams"][0]["codes"] if engine else options.codes
    arguments = (folder, machine["device"], threads, codes, options.tokens)
    coqui = part("coqui", options.coqui, lambda: in_a_process(theirs.measure, *arguments))
    chains = part("post-processors", True, lambda: in_a_process(post.measure, data_dir))
    http = part("http", options.http, lambda: served.measure(data_dir, folder.name, device, precision))
    job = part("jobs", options.jobs > 0, lambda: jobs.measure(data_dir, folder.name, options))
    # Once more, as others may have used the memory a moment ago: the faster of both is nearer to what it can.
    again = in_a_process(describe, device, threads)
    machine["read_gb_per_s"] = max(machine["read_gb_per_s"], again["read_gb_per_s"])
    if engine:
        engine |= _floor(engine, machine)
    if engine and chains:
        for name in ("fast", "balanced", "high_quality"):
            chains[name]["share"] = round(chains[name]["ms_per_s"] / 1000 / engine["real_time_factor"], 4)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": folder.name,
        "options": {name: getattr(options, name) for name in ("streams", "codes", "tokens", "repeats", "jobs")},
        "machine": machine,
        "versions": versions(),
        "engine": engine,
        "coqui": coqui,
        "post_processors": chains,
        "ratios": _ratios(engine, coqui) if engine and coqui else None,
        "http": http,
        "jobs": job,
        "failures": failures,
    }


def soaked(options: Options, data_dir: Path) -> dict[str, Any]:
    """The soak alone. Raises PartFailed where a client is missing."""
    try:
        from tests.bench import soak  # OpenAI's client is no part of the server
    except ModuleNotFoundError as error:
        raise PartFailed(f"--soak needs {error.name}: pip install -e '.[dev]'") from error
    folder, others = _model(options, data_dir), OtherWork()
    device, precision = options.engine["device"], options.engine["precision"]
    found = soak.measure(data_dir, folder.name, device, precision, options.soak)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": folder.name,
        "machine": {"cpu": cpu_name(), "cores": usable_cores()},
        "versions": versions(),
        "soak": found | {"others_cores": others.cores()},
        "failures": {"soak": "; ".join(found["failures"])} if found["failures"] else {},
    }


def _model(options: Options, data_dir: Path) -> Path:
    """The model's folder, in or linked into the data directory that the server will have."""
    name = f"random-{options.random}" if options.random else Path(options.folder).name
    folder = data_dir / "models" / name
    folder.parent.mkdir()
    if options.random:
        print(f"· model: random weights of {options.random}'s sizes", file=sys.stderr, flush=True)
        in_a_process(ours.write_random, folder, options.random, options.codes, options.tokens)
    else:
        check_lengths(read_config(Path(options.folder)), options.codes, options.tokens)
        folder.symlink_to(options.folder, target_is_directory=True)
    return folder


def _floor(engine: dict[str, Any], machine: dict[str, Any]) -> dict[str, float]:
    """What a code takes at least, as every weight of the GPT's blocks is read for it, and how near the engine came."""
    floor = engine["block_weights_bytes"] / machine["read_gb_per_s"] / 1e6
    return {"floor_ms_per_code": round(floor, 4), "share_of_floor": round(floor / engine["ms_per_code"], 4)}


def _ratios(engine: dict[str, Any], coqui: dict[str, Any]) -> dict[str, float]:
    """Ours through coqui's, one stream: below one, ours takes less."""
    alone, whole, streamed = engine["streams"][0], coqui["inference"], coqui["inference_stream"]
    return {
        "real_time_factor": round(engine["real_time_factor"] / whole["real_time_factor"], 4),
        "real_time_factor_streamed": round(engine["real_time_factor"] / streamed["real_time_factor"], 4),
        "ms_per_code": round(engine["ms_per_code"] / whole["ms_per_code"], 4),
        "first_audio": round(alone["first_audio_ms_p50"] / streamed["first_audio_ms_p50"], 4),
        "resident": round(engine["resident_mb"] / coqui["resident_mb"], 4),
    }
