"""The tables for people."""

from typing import Any

from rich.table import Table

from more_server.cli.output import console


def show(found: dict[str, Any]) -> None:
    """Print what was found, in 80 columns."""
    out = console()
    for line in _heading(found):
        out.print(line)
    engine, coqui = found["engine"], found["coqui"]
    tables: list[tuple[str, Table]] = []
    if engine:
        tables += [("Streams started together; gaps: how often a listener had nothing left to play", _streams(engine))]
    if engine or coqui:
        tables += [("One stream", _alone(engine, coqui))]
    if found["post_processors"]:
        tables += [("Post-processors of the profiles", _chains(found["post_processors"]))]
    if found["http"]:
        tables += [("Over HTTP, one request at a time", _http(found["http"]))]
        tables += [("First audio of ten words by front door", _doors(found["http"]["doors"]))]
    if found["jobs"]:
        tables += [("A speech job on an idle server, and a person beside one", _jobs(found["jobs"]))]
    for title, table in tables:
        out.print(f"\n{title}", style="bold")
        out.print(table)
    if found["ratios"]:
        out.print()
        out.print(_comparison(found["ratios"]))
    for name, reason in found["failures"].items():
        out.print(f"\n{name} failed: {reason.splitlines()[-1]}", style="red")
    out.print()


def show_soak(found: dict[str, Any]) -> None:
    """Print how a soak went, in 80 columns."""
    out, soak, machine = console(), found["soak"], found["machine"]
    out.print(f"{found['model']}: {soak['minutes']:g} minutes of {soak['visitors']} clients that come and go")
    out.print(f"{machine['cpu']}, {machine['cores']} cores, {_cores(soak)} busy with other work, {found['date'][:10]}")
    out.print("\nRequests, by who asked", style="bold")
    out.print(_requests(soak["requests"]))
    out.print("\nThe server", style="bold")
    out.print(_held(soak))
    for reason in [*soak["requests"]["reasons"], *soak["first_errors"], *soak["failures"]]:
        out.print(f"\n✗ {reason}", style="red", markup=False)
    out.print()


def _requests(requests: dict[str, Any]) -> Table:
    outcomes = ("whole", "told", "refused", "left", "lost")
    made = _table("", "sent", "whole", "told why not", "refused", "left", "lost")
    for name, counts in [*requests["by_kind"].items(), ("all", requests)]:
        each = [counts.get(outcome, 0) for outcome in outcomes]
        made.add_row(name.replace("_", " "), str(sum(each)), *(str(count or "") for count in each))
    return made


def _held(soak: dict[str, Any]) -> Table:
    made, memory = _table("", "begin", "half", "end"), soak["memory"]
    made.add_row("resident memory", *(f"{memory[f'{when}_mb']:.0f} MB" for when in ("begin", "half", "end")))
    made.add_row("  its growth from half on", "", "", f"{memory['slope_mb_per_min']:.2f} MB/min")
    for kind in ("descriptors", "threads"):
        made.add_row(kind, str(soak[kind]["begin"]), "", str(soak[kind]["end"]))
    made.add_row("slots in use", "", "", str(soak["slots"]["in_use_at_end"]))
    made.add_row("same seed, same bytes", "", "", f"{soak['same_seed']} times")
    made.add_row("errors in the log", "", "", str(soak["errors_logged"]))
    return made


def _heading(found: dict[str, Any]) -> list[str]:
    machine, engine = found["machine"], found["engine"]
    speech = ""
    if engine:
        first = engine["streams"][0]
        speech = f"{engine['precision']}, {first['codes']} codes = {first['audio_s']:.1f} s of audio a stream"
    where = machine["cpu"] if machine["device"] == "cpu" else f"{machine['device_name']}; {machine['cpu']}"
    return [
        f"{found['model']} on {machine['device']}: {speech}",
        f"{where}, {machine['cores']} cores, memory {machine['read_gb_per_s']:.0f} GB/s",
        f"more-server {found['versions']['more-server']}, torch {found['versions']['torch']}, {found['date'][:10]}",
    ]


def _table(*columns: str) -> Table:
    """Frameless; the first column are words, the others figures."""
    made = Table(box=None, pad_edge=False, header_style="")
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left")
    return made


def _streams(engine: dict[str, Any]) -> Table:
    made = _table("streams", "first audio p50", "p95", "audio made", "gaps", "longest gap")
    for row in engine["streams"]:
        made.add_row(
            str(row["streams"]),
            _ms(row["first_audio_ms_p50"]),
            _ms(row["first_audio_ms_p95"]),
            f"{row['audio_s_per_s']:.2f} s/s",
            _gaps(row),
            _longest(row),
        )
    return made


def _alone(engine: dict[str, Any] | None, coqui: dict[str, Any] | None) -> Table:
    """A column for each way to speak; what was not measured stays empty."""
    sides = [_our_column(engine)] if engine else []
    headings = ["MORE"] if engine else []
    if coqui:
        sides += [_coqui_column(coqui, "inference"), _coqui_column(coqui, "inference_stream")]
        headings += ["coqui inference", "inference_stream"]
    made = _table("", *headings)
    names = dict.fromkeys(name for side in sides for name in side if any(side.get(name) for side in sides))
    for name in names:
        made.add_row(name, *(side.get(name, "") for side in sides))
    return made


def _our_column(engine: dict[str, Any]) -> dict[str, str]:
    alone = engine["streams"][0]
    return {
        "real-time factor": f"{engine['real_time_factor']:.3f}",
        "  its best run": f"{engine['real_time_factor_best']:.3f}",
        "first audio": _ms(alone["first_audio_ms_p50"]),
        "gaps": _gaps(alone),
        "longest gap": _longest(alone),
        "time per code, decoder too": _ms(engine["ms_per_code"]),
        "  of it drawing codes": "",
        "  floor: weights read once": _ms(engine["floor_ms_per_code"]),
        "  share of the memory's speed": f"{100 * engine['share_of_floor']:.1f} %",
        "start to ready": f"{engine['load_s']:.1f} s",
        "resident memory": _megabytes(engine["resident_mb"]),
        "  its peak": _megabytes(engine["resident_peak_mb"]),
        "busy with other work": _cores(engine),
    } | _gpu(engine)


def _coqui_column(coqui: dict[str, Any], way: str) -> dict[str, str]:
    times, whole = coqui[way], way == "inference"
    return {
        "real-time factor": f"{times['real_time_factor']:.3f}",
        "  its best run": f"{times['real_time_factor_best']:.3f}",
        "first audio": _ms(times["ms_per_code"] * coqui["codes"] if whole else times["first_audio_ms_p50"]),
        "gaps": "" if whole else _gaps(times),
        "longest gap": "" if whole else _longest(times),
        "time per code, decoder too": _ms(times["ms_per_code"]),
        "  of it drawing codes": _ms(times["ms_per_code_generating"]) if whole else "",
        "start to ready": f"{coqui['load_s']:.1f} s",
        "resident memory": _megabytes(coqui["resident_mb"]),
        "busy with other work": _cores(coqui),
    } | _gpu(coqui)


def _gpu(side: dict[str, Any]) -> dict[str, str]:
    return {"GPU memory, peak": _megabytes(side["gpu_peak_mb"])} if "gpu_peak_mb" in side else {}


def _cores(part: dict[str, Any]) -> str:
    return f"{part['others_cores']:.1f} cores"


def _http(http: dict[str, Any]) -> Table:
    made = _table("", "ten words", "200 words")
    made.add_row("first audio p50", _ms(http["first_audio_ms_p50"]), _ms(http["long_text_first_audio_ms"]))
    made.add_row("first audio p95", _ms(http["first_audio_ms_p95"]), "")
    factors = http["real_time_factor_p50"], http["long_text_real_time_factor"]
    made.add_row("real-time factor", *(f"{factor:.3f}" for factor in factors))
    made.add_row("start to ready", f"{http['start_to_ready_s']:.1f} s", "")
    made.add_row("resident memory", _megabytes(http["resident_mb"]), "")
    made.add_row("  its peak", _megabytes(http["resident_peak_mb"]), "")
    made.add_row("busy with other work", _cores(http), "")
    return made


def _doors(doors: dict[str, Any]) -> Table:
    made = _table("", "first audio p50", "more than HTTP")
    for name, first in doors["first_audio_ms_p50"].items():
        more = doors["more_than_http_ms_p50"].get(name)
        made.add_row(name, _ms(first), "" if more is None else f"{more:+.1f} ms")
    made.add_row("describe, all slots in use", _ms(doors["describe_ms_p50"]), f"p95 {_ms(doors['describe_ms_p95'])}")
    return made


def _jobs(jobs: dict[str, Any]) -> Table:
    made = _table("", "batch", "job", "ratio", "pair by pair")
    batch, job = (f"{jobs[f'{one}_audio_s_per_s']:.2f} s/s" for one in ("batch", "job"))
    made.add_row("audio made, all in", batch, job, f"{jobs['ratio']:.3f}", _each(jobs["ratio_of_each_pair"]))
    at_work = f"{jobs['job_at_work_audio_s_per_s']:.2f} s/s"
    made.add_row("  without queue and news", "", at_work, f"{jobs['ratio_at_work']:.3f}", "")
    made.add_row("  before it speaks", "", _ms(1000 * jobs["before_it_speaks_s"]), "", "")
    made.add_row("  speaking", "", f"{jobs['speaking_s']:.1f} s", "", "")
    made.add_row("  encoding", "", _ms(1000 * jobs["encoding_s"]), "", "")
    made.add_row("  until its end is heard", "", _ms(1000 * jobs["end_heard_s"]), "", "")
    made.add_row("", "alone", "beside", "growth", "")
    alone, beside = (_ms(jobs[f"first_audio_{one}_ms_p50"]) for one in ("alone", "beside"))
    made.add_row("first audio p50", alone, beside, f"{jobs['growth']:.3f}", _each(jobs["growth_of_each_pair"]))
    alone, beside = (_ms(jobs[f"first_audio_{one}_ms_p95"]) for one in ("alone", "beside"))
    made.add_row("first audio p95", alone, beside, "", "")
    made.add_row("busy with other work", _cores(jobs), "", "", "")
    return made


def _each(ratios: list[float]) -> str:
    return " ".join(f"{ratio:.2f}" for ratio in ratios)


def _chains(chains: dict[str, Any]) -> Table:
    made = _table("", "per second of audio", "of the synthesis")
    for name in ("fast", "balanced", "high_quality"):
        share = chains[name].get("share")
        made.add_row(name, _ms(chains[name]["ms_per_s"]), "" if share is None else f"{100 * share:.1f} %")
    return made


def _comparison(ratios: dict[str, float]) -> str:
    times = {name: 1 / ratio for name, ratio in ratios.items()}
    return (
        f"MORE is {times['real_time_factor']:.1f} times as fast as coqui's inference, "
        f"{times['real_time_factor_streamed']:.1f} times as fast as its inference_stream,\n"
        f"and is first heard {times['first_audio']:.1f} times as soon, with one stream each."
    )


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.3f} ms"


def _megabytes(value: float) -> str:
    return f"{value / 1000:.2f} GB" if value >= 1000 else f"{value} MB"


def _gaps(row: dict[str, Any]) -> str:
    return f"{row['gaps']} in {row['heard']} streams"


def _longest(row: dict[str, Any]) -> str:
    return _ms(row["longest_gap_ms"]) if row["gaps"] else "-"
