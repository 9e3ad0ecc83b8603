"""Administration in a browser: every tab, as somebody uses it, against what the server has then."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.serving import Server

NANO = Path(__file__).resolve().parents[2] / "models" / "nano"
REFUSED = ("401", "403")
FORM = """async ([schema, values, changed]) => {
    const { schemaForm } = await import("/ui/form.js");
    const app = { t: (key) => key };
    window.form = schemaForm(app, { schema, values, changed, prefix: "settings.", undo: async () => ({ value: 1 }) });
    document.querySelector("main").replaceChildren(window.form.element);
}"""
SCHEMA = {
    "$defs": {"Inner": {"type": "object", "properties": {"deep": {"type": "boolean"}}}},
    "type": "object",
    "properties": {
        "kind": {"enum": ["one", "two"]},
        "most": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "description": "As many as `most`."},
        "names": {"type": "array", "items": {"type": "string"}},
        "inner": {"$ref": "#/$defs/Inner"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "password": {"type": "string"},
        "left": {"type": "number"},
    },
}
VALUES = {
    "kind": "one",
    "most": 3,
    "names": ["a"],
    "inner": {"deep": False},
    "either": 7,
    "password": "********",
    "left": 0.5,
}
METRICS = r"""# HELP x_seconds Of it
x_total{path="a\"b\\n\n",door="http"} 2.0
x_total{door="wyoming"} 3.5e1
x_seconds_bucket{le="0.1"} 4
x_seconds_bucket{le="0.2"} 8
x_seconds_bucket{le="+Inf"} 8
"""


@pytest.fixture
def open_tab(open_page: Callable[..., Page]) -> Callable[..., Page]:
    """Opens a tab of administration: `open_tab("plugins")`."""
    return lambda tab, **more: open_page(f"#admin/{tab}", **more)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server whose first key is made here."""
    server = Server(tmp_path / "data")
    yield server
    server.stop()


def plugin(studio: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = studio.http.get(f"/v1/admin/plugins/{name}").raise_for_status().json()
    return found


def item(page: Page, plugin_name: str) -> Locator:
    return page.locator(f"[data-plugin={plugin_name}]")


def test_tabs_are_walked_by_arrow_keys_and_have_addresses(open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    tab = page.get_by_role("tab", name="Plugins")
    expect(tab).to_have_attribute("aria-selected", "true")
    tab.press("ArrowRight")
    expect(page.get_by_role("tab", name="Profiles")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Profiles")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Plugins")).to_be_hidden()
    assert page.url.endswith("#admin/profiles")
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="Log")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Profiles")).to_be_visible()


def test_the_overview_shows_what_is_being_spoken(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("overview")
    expect(page.get_by_text("Takes requests")).to_be_visible()
    plots = page.locator(".plot")
    first_audio = plots.filter(has=page.get_by_role("heading", name="Time to first audio"))
    memory = plots.filter(has=page.get_by_role("heading", name="Memory"))
    expect(memory.locator("dd")).to_contain_text("B")
    expect(first_audio.locator("dd").first).to_have_text("–")
    studio.http.post("/v1/audio/speech", json={"input": "Somebody speaks."}).raise_for_status()
    expect(first_audio.locator("dd").first).to_contain_text("s")
    expect(first_audio.get_by_role("img")).to_have_attribute("aria-label", re.compile("Median .* Highest: "))


def test_a_server_that_went_away_is_told_and_asked_again(open_tab: Callable[..., Page]) -> None:
    page = open_tab("overview", allowed=("ERR_FAILED",))
    panel = page.get_by_role("tabpanel", name="Overview")
    expect(panel.get_by_text("Takes requests")).to_be_visible()
    page.route("**/health/detail", lambda route: route.abort())
    expect(panel.get_by_role("alert").filter(has_text="The server does not answer")).to_be_visible()
    expect(panel.get_by_text("Takes requests")).to_be_visible()
    page.unroute("**/health/detail")
    expect(panel.get_by_role("alert").filter(has_text="The server does not answer")).to_be_hidden()


def test_a_metric_is_parsed_and_its_median_found(page: Page) -> None:
    told = page.evaluate(
        """async (text) => {
            const { buckets, parseMetrics, quantile, total } = await import("/ui/metrics.js");
            const metrics = parseMetrics(text);
            const now = buckets(metrics, "x_seconds");
            const before = now.map(([bound]) => [bound, 4]);
            return [total(metrics, "x_total"), total(metrics, "x_total", {door: "http"}), metrics[0].labels.path,
                quantile([], now, 0.5), quantile(before, now, 0.5), quantile(now, now, 0.5), total(metrics, "none")];
        }""",
        METRICS,
    )
    assert told == [37, 2, 'a"b\\n\n', 0.1, pytest.approx(0.15), None, None]


def test_a_setting_is_changed_and_taken_back(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    row = item(page, "more_loudness")
    row.get_by_text("Settings").click()
    row.get_by_label("target_lufs").fill("-20")
    row.get_by_role("button", name="Save").click()
    expect(row.get_by_role("button", name="Back to default")).to_have_count(1)
    assert plugin(studio, "more_loudness")["settings"]["target_lufs"] == -20
    assert plugin(studio, "more_loudness")["changed"] == ["target_lufs"]
    row.get_by_role("button", name="Back to default").click()
    expect(row.get_by_label("target_lufs")).to_have_value("-16")
    expect(row.get_by_role("button", name="Back to default")).to_have_count(0)
    assert plugin(studio, "more_loudness")["changed"] == []


def test_a_setting_out_of_bounds_is_told_at_its_field(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins", allowed=("400",))
    row = item(page, "more_loudness")
    row.get_by_text("Settings").click()
    row.get_by_label("max_gain_db").fill("99")
    row.get_by_role("button", name="Save").click()
    wrong = row.locator("[data-param='settings.max_gain_db'] .wrong")
    expect(wrong).to_contain_text("40")
    expect(row.get_by_label("max_gain_db")).to_have_attribute("aria-invalid", "true")
    row.get_by_label("max_gain_db").fill("")
    row.get_by_role("button", name="Save").click()
    expect(wrong).to_have_text("A number is needed here.")
    assert plugin(studio, "more_loudness")["settings"]["max_gain_db"] == 20


def test_free_names_come_and_go_as_rows(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    row = item(page, "more_filters")
    row.get_by_text("Settings").click()
    row.get_by_role("button", name="Add").click()
    row.get_by_label("chains: name").fill("soft")
    row.get_by_label("chains: value").fill("treble=g=-3")
    row.get_by_role("button", name="Save").click()
    expect(row.get_by_role("button", name="Back to default")).to_be_visible()
    assert plugin(studio, "more_filters")["settings"]["chains"] == {"soft": "treble=g=-3"}
    row.get_by_role("button", name="Remove").click()
    row.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_have_count(2)
    assert plugin(studio, "more_filters")["settings"]["chains"] == {}
    row.get_by_role("button", name="Back to default").click()
    expect(row.get_by_role("button", name="Back to default")).to_have_count(0)


def test_a_plugin_is_enabled_and_disabled(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    row = item(page, "more_marytts")
    row.get_by_role("switch").check()
    expect(row.get_by_text("Active")).to_be_visible()
    assert plugin(studio, "more_marytts")["state"] == "active"
    row.get_by_role("switch").uncheck()
    expect(row.get_by_text("Disabled")).to_be_visible()
    assert plugin(studio, "more_marytts")["state"] == "disabled"


def test_the_page_asks_before_it_disables_itself(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    row = item(page, "more_web_ui")
    row.get_by_role("switch").click()
    dialog = page.get_by_role("dialog", name="Disable this page?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row.get_by_role("switch")).to_be_checked()
    assert plugin(studio, "more_web_ui")["enabled"]


def test_a_reload_tells_what_waits(open_tab: Callable[..., Page]) -> None:
    page = open_tab("plugins")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("status").filter(has_text="Nothing waits for a restart.")).to_be_visible()


def test_a_schema_becomes_a_form_that_sends_what_was_edited(page: Page) -> None:
    page.evaluate(FORM, [SCHEMA, VALUES, ["left"]])
    assert page.evaluate("form.changes()") == {}
    expect(page.get_by_text("As many as most.").locator("code")).to_have_text("most")
    page.get_by_label("kind").select_option("two")
    page.get_by_label("most").fill("")
    page.get_by_role("button", name="admin.form.add").click()
    page.get_by_label("names").last.fill("b")
    page.get_by_label("deep").check()
    page.get_by_label("either").fill('{"free": [1]}')
    edited = {"kind": "two", "most": None, "names": ["a", "b"], "inner": {"deep": True}, "either": {"free": [1]}}
    assert page.evaluate("form.changes()") == edited
    page.get_by_label("password").fill("new")
    assert page.evaluate("form.changes().password") == "new"
    page.get_by_role("button", name="admin.form.undo").click()
    expect(page.get_by_label("left")).to_have_value("1")
    page.get_by_label("either").fill("{")
    said = page.evaluate("(() => { try { form.changes() } catch (error) { return [error.message, error.param] } })()")
    assert said == ["admin.form.noJson", "settings.either"]


def profiles(studio: Server) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in studio.http.get("/v1/admin/profiles").raise_for_status().json()["data"]}


def test_a_profile_is_made_changed_tried_and_deleted(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("profiles")
    page.get_by_role("button", name="New profile from high_quality").click()
    page.get_by_label("Name", exact=True).fill("slow")
    page.get_by_role("spinbutton", name="Speed").fill("0.8")
    expect(page.get_by_role("slider", name="Speed")).to_have_value("0.8")
    page.get_by_role("button", name="Remove more_filters.denoise").click()
    page.get_by_role("button", name="Move more_silence down").press("Enter")
    page.get_by_label("Name of a step").fill("more_filters.limiter")
    page.get_by_label("Name of a step").press("Enter")
    page.get_by_role("button", name="Save").click()
    row = page.locator("[data-profile=slow]")
    expect(row.get_by_text("made of high_quality")).to_be_visible()
    made = profiles(studio)["slow"]
    chain = ["more_loudness", "more_silence", "more_filters.limiter"]
    assert made["base"] == "high_quality"
    assert made["changes"] == {"speed": 0.8, "post_processors": chain}

    row.get_by_role("button", name="Change slow").click()
    page.get_by_role("button", name="As in the base").last.click()
    expect(page.get_by_role("button", name="As in the base")).to_have_count(1)
    page.get_by_role("slider", name="Temperature").fill("0.5")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("temperature 0.5")
    assert profiles(studio)["slow"]["changes"] == {"speed": 0.8, "temperature": 0.5}

    with page.expect_response("**/v1/audio/speech") as spoken:
        row.get_by_role("button", name="Try slow").click()
    assert spoken.value.ok
    assert spoken.value.request.post_data_json["quality"] == "slow"

    row.get_by_role("button", name="Delete slow").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert "slow" not in profiles(studio)


def test_a_profile_that_cannot_be_is_told_at_its_field(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("profiles", allowed=("400",))
    page.get_by_role("button", name="New profile", exact=True).click()
    page.get_by_label("Name", exact=True).fill("No Name")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[data-param=name] .wrong")).to_contain_text("No Name")
    page.get_by_label("Name", exact=True).fill("tried")
    page.get_by_label("Name of a step").fill("more_silenze")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[data-param=post_processors] .wrong")).to_contain_text("more_filters.denoise")
    assert "tried" not in profiles(studio)


def test_profiles_of_plugins_are_only_to_be_derived(open_tab: Callable[..., Page]) -> None:
    page = open_tab("profiles")
    expect(page.get_by_role("button", name="New profile from balanced")).to_be_visible()
    expect(page.get_by_role("button", name="Change balanced")).to_have_count(0)
    expect(page.get_by_role("button", name="Delete balanced")).to_have_count(0)


def test_a_model_is_loaded_served_and_unloaded(
    own_server: Server, tmp_path: Path, open_tab: Callable[..., Page]
) -> None:
    shutil.copytree(NANO, tmp_path / "data" / "models" / "second")
    page = open_tab("models", url=str(own_server.http.base_url).rstrip("/"))
    second, nano = (page.locator(f"[data-model={name}]") for name in ("second", "nano"))
    expect(nano.get_by_text("Serves")).to_be_visible()
    expect(nano).to_contain_text("English")
    second.get_by_role("button", name="Load second").click()
    expect(second.get_by_text("Loaded")).to_be_visible()
    second.get_by_role("button", name="Let second serve").click()
    page.get_by_label("Keep the old model loaded").check()
    page.get_by_role("dialog").get_by_role("button", name="Let it serve").click()
    expect(second.get_by_text("Serves")).to_be_visible()
    models = {one["id"]: one for one in own_server.http.get("/v1/admin/models").json()["data"]}
    assert (models["second"]["serving"], models["nano"]["loaded"]) == (True, True)
    nano.get_by_role("button", name="Unload nano").click()
    page.get_by_role("dialog").get_by_role("button", name="Unload").click()
    expect(nano.get_by_role("button", name="Load nano", exact=True)).to_be_visible()


def test_the_first_key_is_used_by_the_page_that_made_it(own_server: Server, open_tab: Callable[..., Page]) -> None:
    url = str(own_server.http.base_url).rstrip("/")
    page = open_tab("keys", url=url, allowed=REFUSED)
    page.get_by_label("Name").fill("desk")
    expect(page.get_by_label("Do everything")).to_be_checked()
    page.get_by_label("Requests at a time").fill("50")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("heading", name="The key “desk”")).to_be_focused()
    secret = page.locator("code.secret").inner_text()
    expect(page.get_by_text("this server asks for a key")).to_be_visible()
    page.get_by_role("button", name="Use it on this page").click()
    expect(page.get_by_text("This page uses no key yet.")).to_have_count(0)
    expect(page.get_by_role("button", name="Delete desk")).to_be_visible()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as on plain http
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    page.get_by_role("button", name="I have kept it").click()
    expect(page.locator("code.secret")).to_have_count(0)

    headers = {"authorization": f"Bearer {secret}"}
    keys = own_server.http.get("/v1/admin/keys", headers=headers).raise_for_status().json()["data"]
    assert [(one["name"], one["concurrency"], one["rate_per_minute"]) for one in keys] == [("desk", 50, None)]
    expect(page.get_by_role("row").filter(has_text="keys.create")).to_have_count(1)

    page.get_by_label("Name").fill("kitchen")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("button", name="Delete kitchen")).to_be_visible()
    weak = page.locator("code.secret").inner_text()
    page.get_by_role("button", name="Delete kitchen").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    other = open_tab("plugins", url=url, allowed=REFUSED)
    for used, shown in ((weak, "needs the scope admin"), (secret, "more_loudness")):
        other.get_by_role("button", name="Enter a key").click()
        other.get_by_label("Key", exact=True).fill(used)
        other.get_by_role("button", name="Use this key").click()
        expect(other.get_by_role("tabpanel", name="Plugins").get_by_text(shown).first).to_be_visible()

    page.get_by_role("button", name="Delete kitchen").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Delete kitchen")).to_have_count(0)
    left = own_server.http.get("/v1/admin/keys", headers=headers).json()["data"]
    assert [one["name"] for one in left] == ["desk"]


def test_a_first_key_that_may_not_administer_is_refused(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("keys", allowed=("400",))
    page.get_by_label("Name").fill("desk")
    page.get_by_label("Do everything").uncheck()
    page.get_by_role("button", name="Make key").click()
    expect(page.locator("[data-param=scopes] .wrong")).to_contain_text("must have the scope admin")
    assert studio.http.get("/v1/admin/keys").json()["data"] == []


def test_the_log_follows_and_is_filtered(studio: Server, open_tab: Callable[..., Page]) -> None:
    page = open_tab("log")
    log = page.get_by_role("list", name="Log")
    expect(log.get_by_text("model loaded").first).to_be_visible()
    studio.http.post("/v1/audio/speech", json={"input": "A line."}, headers={"user-agent": "parrot"}).raise_for_status()
    expect(log.get_by_text("parrot")).to_have_count(1)
    page.get_by_label("Search in the lines").fill("parrot")
    expect(log.get_by_role("listitem")).to_have_count(1)
    page.get_by_label("Search in the lines").fill("")
    page.get_by_label("Which lines").select_option("Errors")
    expect(log.get_by_text("parrot")).to_have_count(0)
    page.get_by_label("Which lines").select_option("All lines")
    page.get_by_role("button", name="Pause").click()
    studio.http.post("/v1/audio/speech", json={"input": "Unseen."}, headers={"user-agent": "heron"}).raise_for_status()
    page.get_by_label("Search in the lines").fill("heron")
    expect(page.get_by_text("There are no such lines.")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(log.get_by_text("heron")).to_have_count(1)
