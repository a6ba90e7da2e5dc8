"""The whole page, in Streamlit's own test harness, with a client that needs no server."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import streamlit as st
from PIL import Image
from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.testing.v1 import AppTest

from model.limits import MAX_STYLES
from model.presets import PRESETS
from model.settings import StyleSettings
from serving import results
from serving.errors import Overloaded, ServingFailed, ServingUnavailable
from serving.files import sha256
from serving.request import Request
from serving.run_file import decode_run, encode_run
from tests.conftest import decoded, encode
from tests.ui.fakes import FakeClient, encoded
from ui import downloads, estimate, gallery, jobs, knobs, live, masks, server, visits, widgets, wording
from ui.cards import FULL
from ui.downloads import run_file, stem
from ui.jobs import REFINE_STEPS, RunQueue
from ui.samples import CONTENTS, STYLES
from ui.visits import Visit, Visits

ROOT = Path(__file__).resolve().parents[2]
STEPS = knobs.FIRST.steps


@pytest.fixture
def client(monkeypatch) -> Iterator[FakeClient]:
    fake = FakeClient()
    monkeypatch.setattr(server, "connect", lambda address: fake)
    monkeypatch.setattr(server, "served_versions", lambda address: [3, 2])
    monkeypatch.setattr(server, "WATCH", server.Watch())
    monkeypatch.setattr(jobs, "PACE", pace := estimate.Pace())
    monkeypatch.setattr(estimate, "PACE", pace)
    monkeypatch.setattr(visits, "VISITS", Visits())
    monkeypatch.setattr(visits, "QUEUE", RunQueue(2))
    monkeypatch.setenv("NST_SERVING_URL", "grpc://fake:8500")
    yield fake
    st.cache_resource.clear()  # all pages in the harness share one session's cache


CARDS = ("content", "style")


def opened(visit: str = "", **query: str) -> AppTest:
    """Returns a page as drawn by a new tab, by a tab with an earlier visit, or by a link."""
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20)
    if visit:
        page.session_state["visit"] = visit
    page.query_params.update(query)
    return page.run()


@pytest.fixture
def page(client) -> AppTest:
    return opened()


@pytest.fixture
def blend(page) -> AppTest:
    """A page that blends two samples."""
    page.toggle(key=at(page, "blend")).set_value(True).run()
    choose(page, "style_sample", STYLES[0].name, STYLES[2].name)
    return page


def at(page: AppTest, name: str) -> str:
    """Returns the key of a widget whose value the page sets too."""
    times, _ = page.session_state[widgets.SET].get(name, (0, None))
    return f"{name}_{times}" if times else name


def element(page: AppTest, key: str):
    """Returns one of the page's own elements, by its key."""
    return next(one for one in page.get("bidi_component") if f"-{key}" in one.proto.id).proto


def data_of(page: AppTest, key: str) -> dict:
    return json.loads(element(page, key).json)


def choose(page: AppTest, key: str, *names: str) -> None:
    """Chooses pictures, as a click on them does."""
    states = page._tree.get_widget_states()
    trigger = _make_trigger_id(element(page, key).id, "events")
    states.widgets.add(id=trigger).json_trigger_value = json.dumps([{"event": "chosen", "value": names}])
    page._run(states)


def chosen(page: AppTest, key: str) -> list[str]:
    return data_of(page, key)["chosen"]


def link(page: AppTest) -> dict[str, str]:
    """Returns what the page's address holds."""
    return dict(parse_qsl(data_of(page, "address")["query"]))


def text_of(page: AppTest) -> str:
    shown = [*page.error, *page.warning, *page.info, *page.caption, *page.markdown]
    return "\n".join(str(element.value) for element in shown)


def until(page: AppTest, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Redraws, as the browser's timer does, until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, text_of(page)
        time.sleep(0.01)
        page.run()
    assert not page.exception


def keys(page: AppTest, kind: str) -> set[str]:
    return {element.key for element in page.get(kind)}


def errors(page: AppTest) -> list[str]:
    return [error.value for error in page.error]


def stems(page: AppTest) -> list[str]:
    """Returns the names of the results' files, without suffixes."""
    visit = visit_of(page)
    return [stem(one.request, visit.names) for one in visit.results]


def progress(page: AppTest) -> str:
    return page.get("progress")[0].proto.text if page.get("progress") else ""


def sliders(page: AppTest) -> dict[str, float]:
    return {slider.label: slider.value for slider in page.slider}


def visit_of(page: AppTest) -> Visit:
    return visits.VISITS.enter(page.session_state["visit"])


def start(page: AppTest, button: str = "start") -> None:
    page.button(key=button).click().run()


def finish(page: AppTest, button: str = "start") -> None:
    """Starts a run and waits for its end."""
    start(page, button)
    until(page, lambda: not visit_of(page).active and not page.get("progress"))


def open_more(page: AppTest) -> AppTest:
    page.session_state["more"] = True
    return page.run()


def upload(page: AppTest, key: str, data: bytes, name: str = "mine.png") -> None:
    page.file_uploader(key=key).upload(name, data, "image/png").run()


def link_of(page: AppTest) -> dict[str, str]:
    """Returns the settings in the link to what the page last painted."""
    start(open_more(page), "link")
    return dict(parse_qsl(page.code[0].value.partition("?")[2]))


def test_a_link_to_a_result_opens_its_settings_and_samples_and_says_what_does_not_travel(client):
    page = opened(preset="quick", steps="40", content_layers="block4_conv2:0.5", content="cat", style="eddies,waves")
    page.slider(key=at(page, "blend_2")).set_value(0.5).run()
    finish(page)
    link = link_of(page)
    assert "stay here" not in text_of(page)
    st.cache_resource.clear()
    other = opened(**link)
    assert not other.warning
    finish(other)
    assert (client.calls[1], str(client.calls[1].settings)) == (client.calls[0], str(client.calls[0].settings))
    upload(other, "content_upload_0", encoded(40, 30))
    finish(other)
    assert link_of(other).keys() == link.keys() - {"content"}
    assert "Your own pictures and masks stay here" in text_of(other)


def test_a_first_visit_gives_a_result_with_one_click(client, page):
    assert not link(page)
    client.gate = threading.Semaphore(0)
    start(page)
    until(page, lambda: f"Step {STEPS // 4} of {STEPS}" in progress(page))
    assert page.button(key="start").label == "Paint next"
    assert page.get("progress")[0].value == 25
    assert len(page.get("image")) == 3
    assert not page.get("vega_lite_chart")
    page.session_state["curve"] = True
    page.run()
    assert page.get("vega_lite_chart")
    client.gate.release(3)
    until(page, lambda: page.get("download_button"))
    assert f"{STEPS} steps in {STEPS // 10} seconds" in text_of(page)
    assert page.button(key="start").label == "Start"
    assert client.calls == [Request(CONTENTS[0].path.read_bytes(), (STYLES[0].path.read_bytes(),), knobs.FIRST)]
    assert stems(page) == ["cat-eddies-384"]


def test_no_two_buttons_of_a_new_page_share_a_name(page):
    names = [button.label for button in page.button] + [data_of(page, f"{card}_paste")["label"] for card in CARDS]
    assert len(names) > len(CARDS)
    assert len(set(names)) == len(names)
    zones = [uploader.label for uploader in page.file_uploader]  # Streamlit names the button in each itself
    assert len(set(zones)) == len(zones) == len(CARDS)


def test_samples_and_knobs_reach_the_server_and_the_address_reproduces_them(client, blend):
    blend.slider[1].set_value(0.25).run()
    choose(blend, "content_sample", CONTENTS[1].name)
    blend.selectbox(key=at(blend, "reproduction")).set_value("gatys2016").run()
    assert blend.selectbox(key=at(blend, "knob_optimizer")).value == "lbfgs"
    blend.number_input(key=at(blend, "knob_style_weight")).set_value(2500.0).run()
    blend.selectbox(key=at(blend, "knob_statistics")).set_value("wasserstein").run()
    blend.text_input(key=at(blend, "knob_style_layers")).set_value("block9").run()
    assert [error.split(" must")[0] for error in errors(blend)] == ["Style layers"]
    assert blend.button(key="start").disabled
    blend.text_input(key=at(blend, "knob_style_layers")).set_value("block2_conv1:2").run()
    assert blend.selectbox(key=at(blend, "reproduction")).value is None
    assert "Advanced · Gatys, Ecker and Bethge, 2016 · modified: Style weight, " in text_of(blend)
    finish(blend)
    call = client.calls[0]
    changed = {"style_weight": 2500, "statistics": "wasserstein", "style_layers": (("block2_conv1", 2.0),)}
    assert str(call.settings) == str(StyleSettings("gatys2016", blend_weights=(1, 0.25), **changed))
    assert call.content == CONTENTS[1].path.read_bytes()
    assert call.styles == (STYLES[0].path.read_bytes(), STYLES[2].path.read_bytes())
    address = link(blend)
    blend.selectbox(key=at(blend, "reproduction")).set_value("classic").run()
    assert blend.number_input(key=at(blend, "knob_steps")).value == PRESETS["classic"]["steps"]
    assert "modified:" not in text_of(blend)
    blend.selectbox(key=at(blend, "reproduction")).set_value(None).run()
    assert "Advanced" not in text_of(blend)
    st.cache_resource.clear()
    other = opened(**address)
    finish(other)
    assert client.calls[1] == call
    assert not other.warning


def test_strength_colours_and_size_set_the_knobs_and_follow_them(client, page):
    assert page.select_slider(key=at(page, "strength")).value == "Strong"
    page.select_slider(key=at(page, "strength")).set_value("Photo").run()
    page.checkbox(key=at(page, "keep_colours")).check().run()
    page.button_group(key=at(page, "size")).set_value(1024).run()
    assert "Advanced ·" not in text_of(page)
    finish(page)
    assert str(client.calls[0].settings) == "preset=fine,content_weight=192,colours=of_content"
    page.number_input(key=at(page, "knob_size")).set_value(300).run()
    page.number_input(key=at(page, "knob_content_weight")).set_value(50.0).run()
    page.selectbox(key=at(page, "knob_colours")).set_value("matched").run()
    assert page.select_slider(key=at(page, "strength")).value == "Medium"
    assert not page.checkbox(key=at(page, "keep_colours")).value
    assert page.button_group(key=at(page, "size")).value == 300
    assert "Advanced · modified: Content weight, Colours" in text_of(page)


def test_the_time_that_a_run_will_take_is_shown_before_start_once_a_run_has_shown_it(client, page):
    assert "on this server" not in text_of(page)
    client.chunks = 12
    finish(page)
    assert "Takes about 7 seconds on this server" in text_of(page)  # the fake client's steps take a tenth of a second
    page.number_input(key=at(page, "knob_steps")).set_value(600).run()
    assert "Takes about 1 minute on this server" in text_of(page)


def test_visitors_cannot_exceed_the_limits_that_the_environment_sets(client, monkeypatch):
    monkeypatch.setattr(knobs, "SETTINGS", knobs.limited({"NST_MAX_SIZE": "600", "NST_MAX_STEPS": "100"}))
    page = opened(size="601")
    assert "Size must be an integer from 16 to 600." in page.warning[0].value
    assert list(page.button_group(key=at(page, "size")).options) == ["384 px", "512 px"]
    page.button_group(key=at(page, "size")).set_value(512).run()
    assert page.number_input(key=at(page, "knob_steps")).value == 100
    assert page.number_input(key=at(page, "knob_size")).max == 600
    page.number_input(key=at(page, "knob_size")).set_value(600).run()
    finish(page)
    assert (client.calls[0].settings.size, client.calls[0].settings.steps) == (600, 100)
    assert "larger" not in keys(page, "button")


@pytest.mark.parametrize(("name", "value", "set_too"), [("size", 512, "knob_steps"), ("knob_size", 300, "size")])
def test_what_the_browser_sends_before_it_hears_of_a_new_value_does_not_bring_the_old_one_back(
    page, name, value, set_too
):
    known = page.button_group if name == "size" else page.number_input
    known(key=name).set_value(value)
    sent = page._tree.get_widget_states()
    page.run()
    ours = page.session_state[at(page, set_too)]
    assert ours != getattr(knobs.FIRST, set_too.removeprefix("knob_"))
    page._run(sent)  # as a timer's message does
    assert page.session_state[at(page, set_too)] == ours
    assert page.session_state[at(page, name)] == value


def test_a_knob_begins_with_its_value_however_often_it_is_drawn(client):
    page = opened(size="48", steps="4")
    page.run()  # as if the browser had not got the first drawing
    assert [page.number_input(key=at(page, name)).proto.default for name in ("knob_size", "knob_steps")] == [48, 4]


def test_start_runs_what_a_knob_shows_at_the_moment_of_the_click(client, page):
    page.number_input(key=at(page, "knob_steps")).set_value(40)  # not sent before the click
    finish(page)
    assert [call.settings.steps for call in client.calls] == [40]


def test_invalid_parts_of_a_link_are_ignored_and_explained(client):
    page = opened(size="huge", steps="40", preset="none", content="moon", style="`[x](http://y)", colour="<b>")
    assert page.warning[0].value == (
        f"Some settings in this link were ignored: Preset must be one of {', '.join(PRESETS)}. Size must be an integer "
        "from 16 to 4096. There is no setting `colour`. There is no sample `moon`. There is no sample `[x](http://y)`."
    )
    assert page.number_input(key=at(page, "knob_steps")).value == 40
    st.cache_resource.clear()
    page = opened(style_weight="0", content_weight="0", total_variation_weight="0")
    assert "At least one of the three weights must be above 0." in page.warning[0].value
    assert not page.button(key="start").disabled


def test_variations_give_a_grid_and_one_click_paints_one_of_them_large(client, page):
    start(page, "vary")
    until(page, lambda: "Variations" in [one.value for one in page.subheader])
    assert len(client.calls) == 9
    finish(page, f"large_{visit_of(page).work.rows[2][0].number}")
    assert len(client.calls) == 10
    assert client.calls[9].settings == knobs.FIRST.replace(style_weight=5000, style_scale=0.6)
    assert page.number_input(key=at(page, "knob_style_weight")).value == 5000
    assert page.number_input(key=at(page, "knob_style_scale")).value == 0.6
    assert page.number_input(key=at(page, "knob_size")).value == knobs.FIRST.size
    assert not page.button(key="start").disabled


def upload_mask(page: AppTest, which: int, mask: bytes) -> None:
    page.selectbox(key="mask_target").set_value(page.selectbox(key="mask_target").options[which]).run()
    upload(page, max(key for key in keys(page, "file_uploader") if key.startswith("mask")), mask)


def test_each_style_gets_its_masks_and_the_result_records_them(client, blend):
    blend.session_state["masks_open"] = True
    blend.run()
    sky, part = encoded(30, 20, colour=(255, 255, 255)), encoded(20, 20, colour=(9, 9, 9))
    upload_mask(blend, 1, sky)
    upload_mask(blend, 2, part)
    assert f"{STYLES[2].label}: only where masked. {STYLES[0].label}: everywhere else." in text_of(blend)
    assert f"Only the masked part of {STYLES[0].label} is used." in text_of(blend)
    finish(blend)
    assert client.calls[0].content_masks == (b"", sky)
    assert client.calls[0].style_masks == (part, b"")
    assert visit_of(blend).results[0].origin.guides_sha256["content_masks"] == (sha256(b""), sha256(sky))
    upload_mask(blend, 1, encode(Image.new("RGBA", (20, 10), (255, 255, 255, 0))))  # transparent areas count as black
    assert "black everywhere" in errors(blend)[0]
    assert f"{STYLES[2].label}: only where masked." in text_of(blend)  # the mask before it stays
    upload_mask(blend, 1, sky)
    assert not blend.error
    choose(blend, "content_sample", CONTENTS[1].name)  # the mask does not carry over
    finish(blend)
    assert (client.calls[1].content_masks, client.calls[1].style_masks) == ((), (part, b""))
    upload_mask(blend, 1, sky)
    assert len(visit_of(blend).masks) == 2  # that of the earlier photograph is dropped


@pytest.mark.parametrize(
    ("what", "samples", "alt"),
    [("content", CONTENTS, "Your photo, mine.png"), ("style", STYLES, "Your painting, mine.png")],
)
def test_a_file_replaces_a_sample_and_stays_when_the_next_is_refused_in_one_sentence(page, what, samples, alt):
    shown = lambda: [image.proto.imgs[0].alt for image in page.get("image")]  # noqa: E731
    upload(page, f"{what}_upload_0", encoded(40, 30))
    assert alt in shown()
    assert samples[0].name not in chosen(page, f"{what}_sample")
    upload(page, f"{what}_upload_1", b"no picture")
    assert ["not a picture" in error for error in errors(page)] == [True]
    assert alt in shown()
    assert not page.button(key="start").disabled
    choose(page, f"{what}_sample", samples[1].name)
    assert chosen(page, f"{what}_sample") == [samples[1].name]
    assert samples[1].alt in shown()
    assert not page.error


def test_a_photograph_is_turned_by_90_degrees_and_sent_so(client, page):
    half = Image.new("RGB", (60, 40), "black")
    half.paste("white", (0, 0, 30, 40))
    upload(page, "content_upload_0", encode(half))
    page.button(key="content_edit").click().run()
    page.button(key="turn").click().run()
    finish(page)
    sent = decoded(client.calls[0].content)
    assert sent.shape == (60, 40, 3)
    assert sent[:25].min() > 250
    assert sent[35:].max() < 5


def test_a_photograph_is_cropped_and_sent_so(client, page):
    upload(page, "content_upload_0", encode(Image.linear_gradient("L").resize((60, 50))))
    page.button(key="content_edit").click().run()
    assert page.button(key="crop").disabled
    for across in ((50, 55), (50, 75)):
        page.session_state["crop_across"], page.session_state["crop_down"] = across, (0, 40)
        page.button(key="content_edit").click().run()
        assert page.button(key="crop").disabled == (across == (50, 55))  # too narrow
    page.button(key="crop").click().run()
    finish(page)
    sent = decoded(client.calls[0].content)
    assert sent.shape == (20, 15, 3)
    assert sent[0].max() < 10
    assert 90 <= sent[-1].min() <= sent[-1].max() <= 110  # 40 % of the way to white


def test_a_result_is_refined_and_enlarged_and_each_can_be_reused_and_deleted(client, page):
    finish(page)
    finish(open_more(page), "refine")
    finish(page, "larger")
    assert [call.initial for call in client.calls] == [b"", encoded(), encoded()]
    finish(page, f"larger_{visit_of(page).results[2].number}")
    assert client.calls[3].settings == client.calls[2].settings
    start(page, f"delete_{visit_of(page).results[0].number}")
    assert "larger" not in keys(page, "button")  # a deleted result is nowhere on the page
    assert "Your result appears here" in text_of(page)
    results = visit_of(page).results
    assert [one.origin.settings.size for one in results] == [768, 384, 384]
    assert "Cat + Eddies, 768 px" in text_of(page)
    assert page.number_input(key=at(page, "knob_steps")).value == STEPS
    start(page, f"reuse_{results[1].number}")
    assert page.number_input(key=at(page, "knob_steps")).value == REFINE_STEPS
    start(page, f"delete_{results[1].number}")
    assert visit_of(page).results == (results[0], results[2])


def test_a_reloaded_page_finds_its_run_pictures_and_results(client, blend):
    upload(blend, "content_upload_0", encoded(40, 30))
    finish(blend)
    client.gate = threading.Semaphore(0)
    start(open_more(blend), "refine")
    until(blend, lambda: f"Step {REFINE_STEPS // 4}" in progress(blend))
    again = opened(visit=blend.session_state["visit"])
    assert f"Step {REFINE_STEPS // 4} of {REFINE_STEPS}" in progress(again)
    assert again.get("image")[0].proto.imgs[0].alt == "Your photo, mine.png"
    assert list(sliders(again))[:2] == [STYLES[0].label, STYLES[2].label]
    assert "Mine + Eddies + Waves, 384 px" in text_of(again)
    client.gate.release(9)


def test_a_page_whose_visit_was_forgotten_starts_a_new_one(page, monkeypatch):
    st.cache_resource.clear()
    monkeypatch.setattr(visits, "VISITS", Visits())
    page.run()
    assert len(page.get("image")) == 2
    assert not page.button(key="start").disabled


def test_a_file_joins_a_blend_and_pictures_remove_styles(blend):
    upload(blend, "style_upload_0", encoded(30, 30), "mine_1.png")
    assert sliders(blend) == {STYLES[0].label: 1.0, STYLES[2].label: 1.0, "mine\\_1.png": 1.0}
    for slider in blend.slider:
        slider.set_value(0.0)
    blend.run()
    assert errors(blend) == ["Move the slider of at least one style above 0."]
    assert data_of(blend, "style_sample")["pictures"][-1]["label"] == "mine_1.png"
    choose(blend, "style_sample", chosen(blend, "style_sample")[-1])
    assert not blend.slider
    assert not blend.error
    choose(blend, "style_sample")  # the last one stays
    assert [style.plain_name for style in visit_of(blend).styles] == ["mine_1.png"]


def test_several_files_make_a_blend_up_to_the_models_limit(client, page):
    files = [(f"{number}.png", encoded(20 + number, 30), "image/png") for number in range(MAX_STYLES + 1)]
    page.file_uploader(key="style_upload_0").set_value(files).run()
    assert list(sliders(page)) == [name for name, _, _ in files[:-1]]
    assert errors(page) == [FULL]
    choose(page, "style_sample", *chosen(page, "style_sample")[1:])
    assert len(page.slider) == MAX_STYLES - 1
    assert not page.error
    page.toggle(key=at(page, "blend")).set_value(False).run()
    start(page)
    until(page, lambda: client.calls)
    assert client.calls[0].styles == (files[1][1],)


def test_an_uploaded_result_offers_its_settings(blend):
    settings = StyleSettings("classic", steps=77, blend_weights=(1.0, 0.5))
    made = results.encode_result(encoded(40, 30), ".png", results.Origin(settings, {}, "", (), 77, 77))
    upload(blend, "content_upload_0", encoded(40, 30))
    assert "reuse" not in keys(blend, "button")
    upload(blend, "content_upload_1", made)
    start(blend, "reuse")
    assert blend.number_input(key=at(blend, "knob_steps")).value == 77
    assert blend.selectbox(key=at(blend, "knob_statistics")).value == "gram"
    assert list(sliders(blend).values()) == [1.0, 0.5]


def test_a_page_opens_at_once_and_start_works_before_the_server_has_described_itself(client, monkeypatch):
    described = threading.Event()
    monkeypatch.setattr(server, "ask", lambda: described.wait(20) and server.Server())
    finish(opened())
    assert len(client.calls) == 1
    assert server.WATCH.latest is None
    described.set()


def test_a_server_that_is_down_is_explained_until_it_answers(client, monkeypatch):
    monkeypatch.setattr(server, "ASK_AGAIN_S", 0.01)
    client.problem = ServingUnavailable("connection refused: 127.0.0.1")
    page = opened()
    until(page, lambda: page.error)
    assert ["The server does not answer: " in error for error in errors(page)] == [True]
    assert page.button(key="start").disabled
    page.number_input(key=at(page, "knob_size")).set_value(256).run()  # the rest of the page still works
    client.problem, client.notice = None, "These weights are random."
    until(page, lambda: page.warning)
    assert not page.error
    assert [warning.value for warning in page.warning] == ["These weights are random."]
    assert not page.button(key="start").disabled
    assert page.number_input(key=at(page, "knob_size")).value == 256


def test_start_agrees_with_the_header_if_an_answer_comes_while_the_page_is_drawn(page, monkeypatch):
    def show_masks(visit: Visit) -> None:
        server.WATCH.latest = server.Server(problem="It does not answer.")

    until(page, lambda: server.WATCH.latest)
    monkeypatch.setattr(masks, "show", show_masks)
    page.run()
    assert (errors(page), page.button(key="start").disabled) == ([], False)
    page.run()
    assert (errors(page), page.button(key="start").disabled) == (["It does not answer."], True)


def test_a_page_opened_after_an_outage_does_not_show_it_again(client, page, monkeypatch):
    monkeypatch.setattr(server, "ASK_AGAIN_S", 0.01)
    client.problem = client.outage = ServingUnavailable("gone")
    client.breaks_at, client.gate = 2, threading.Semaphore(1)
    start(page)
    until(page, lambda: page.button(key="start").disabled)
    client.problem = None
    until(page, lambda: not page.button(key="start").disabled)
    again = opened(visit=page.session_state["visit"])
    assert not errors(again)
    assert not again.button(key="start").disabled
    client.gate.release(9)


def test_the_servers_details_are_under_about_only(client, page):
    until(page, lambda: "imagenet" in text_of(page))
    about = next(block for block in page.get("popover") if block.proto.popover.label == "About")
    details = "\n".join(caption.value for caption in about.caption)
    for fact in ("grpc://fake:8500", "imagenet (01234567)", "bfloat16", "CPU", "3"):
        assert fact in details
        assert text_of(page).replace(details, "").count(fact) == 0 or fact == "3"


def test_the_picture_is_kept_when_a_run_fails_and_the_run_can_continue_or_be_saved(client, page):
    client.run_problem, client.breaks_at = ServingFailed("a bug"), 2
    start(page)
    until(page, lambda: page.get("download_button"))
    assert ["Something went wrong" in error for error in errors(page)] == [True]
    assert {"download", "save_run"} <= keys(open_more(page), "download_button")
    client.run_problem = None
    finish(page, "continue")
    assert [one.origin.step for one in visit_of(page).results] == [STEPS]  # replacing the earlier result
    assert not page.error
    assert "save_run" not in keys(page, "download_button")


def test_files_are_made_only_when_they_are_downloaded(client, page, monkeypatch):
    def never(*_) -> bytes:
        raise AssertionError("nobody asked for it")

    for module, name in ((downloads, "encode"), (downloads, "as_zip"), (downloads, "run_file"), (gallery, "as_webp")):
        monkeypatch.setattr(module, name, never)
    finish(page)
    client.run_problem, client.breaks_at = ServingFailed("a bug"), 2
    finish(page)
    assert {"download", "download_all", "film", "save_run"} <= keys(open_more(page), "download_button")
    assert not page.exception


def test_the_photograph_is_mixed_into_the_shown_result(client, page):
    finish(page)
    shown = lambda: [image.value for image in page.get("image") if image.proto.imgs[0].alt == live.ALT]  # noqa: E731
    before = shown()
    page.slider(key=f"mix_{visit_of(page).work.number}").set_value(50).run()
    assert shown() != before
    page.slider(key=f"mix_{visit_of(page).work.number}").set_value(0).run()
    assert shown() == before != []


def test_a_run_lasts_through_an_outage_as_long_as_the_page_is_open():
    assert server.RETRIES.max_elapsed_s == math.inf


def test_runs_are_lined_up_and_can_be_removed(client, page):
    client.gate = threading.Semaphore(0)
    start(page)
    choose(page, "content_sample", CONTENTS[1].name)
    for _ in range(3):
        start(page)
    choose(page, "content_sample", CONTENTS[2].name)
    start(page)
    waiting = [one for one in page.button if one.key in {f"remove_{id(work)}" for work in visit_of(page).lined_up}]
    assert [one.label for one in waiting] == [*["Dusk lake + Eddies, 384 px"] * 3, "Lighthouse + Eddies, 384 px"]
    again = opened(visit=page.session_state["visit"])  # another tab of the visit
    start(again, waiting[0].key)
    page.run()
    assert len(visit_of(page).lined_up) == 3
    client.gate.release(99)
    until(page, lambda: not visit_of(page).active)
    assert stems(page) == [f"{name}-eddies-384" for name in ("lighthouse", "dusk_lake", "dusk_lake", "cat")]
    client.gate = threading.Semaphore(0)
    for _ in range(3):
        start(page)
    start(page, "remove_all")
    assert visit_of(page).lined_up == ()
    for _ in range(visits.MOST_LINED_UP + 1):
        start(page)
    assert len(visit_of(page).lined_up) == visits.MOST_LINED_UP
    assert page.toast[0].value == f"At most {visits.MOST_LINED_UP} runs can wait. Left out: 1."
    start(page, "remove_all")
    client.gate.release(99)


def test_a_stopped_run_frees_the_page_though_the_server_hangs(client, page):
    client.gate = threading.Semaphore(0)
    start(page)
    until(page, lambda: progress(page).startswith("Step"))
    start(page, "stop")
    assert progress(page) == wording.STOPPING
    assert page.button(key="start").label == "Start"
    gate, client.gate = client.gate, None
    choose(page, "content_sample", CONTENTS[1].name)
    finish(page)
    assert [one.request.content for one in visit_of(page).results] == [CONTENTS[1].path.read_bytes()]
    gate.release()
    until(page, lambda: len(visit_of(page).results) == 2)


def test_more_photographs_are_painted_like_the_first_and_unusable_ones_are_named(client, blend):
    blend.session_state["masks_open"] = True
    blend.run()
    upload_mask(blend, 1, encoded(30, 20, colour=(255, 255, 255)))
    finish(blend)
    photographs = [encoded(30 + number, 20) for number in range(2)]
    files = [(f"{number}.png", data, "image/png") for number, data in enumerate([*photographs, b"no picture"])]
    client.gate = threading.Semaphore(0)
    start(open_more(blend), "photos")
    blend.file_uploader(key="photos_upload_0").set_value(files).run()
    assert ["2.png: This file is not a picture" in error for error in errors(blend)] == [True]
    client.gate.release(99)
    until(blend, lambda: len(visit_of(blend).results) == 3 and not blend.error)
    first, *others = client.calls
    assert [call.content for call in others] == photographs
    assert {(call.styles, call.settings, call.content_masks) for call in others} == {(first.styles, first.settings, ())}
    assert visit_of(blend).results[0].origin.content_sha256 == sha256(photographs[1])
    assert stems(blend)[0] == "1-eddies-waves-384"


def test_a_saved_run_continues_on_another_page_if_its_model_is_served(client, page):
    client.run_problem, client.breaks_at = ServingFailed("a bug"), 2
    start(page)
    until(page, lambda: "continue" in keys(page, "button"))
    saved = run_file(visit_of(page).work)
    client.run_problem = None
    st.cache_resource.clear()
    other = opened()
    start(other, "resume")
    upload(other, "run_upload_0", b"PK", "a.run")
    assert errors(other) == [wording.NO_RUN]
    run = decode_run(saved, "")
    other_model, damaged = replace(run, model_digest="another"), replace(run.request, content=b"no picture")
    start(other, "resume")
    upload(other, "run_upload_1", encode_run(other_model), "a.run")
    assert errors(other) == [wording.OTHER_MODEL]
    start(other, "resume")
    upload(other, "run_upload_2", encode_run(replace(run, request=damaged)), "a.run")
    assert errors(other) == [wording.NO_RUN]
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(knobs, "SETTINGS", knobs.limited({"NST_MAX_SIZE": "400"}))
        larger = replace(run.request, settings=run.request.settings.replace(size=401))
        start(other, "resume")
        upload(other, "run_upload_3", encode_run(replace(run, request=larger)), "a.run")
        assert errors(other) == ["Size must be an integer from 16 to 400."]
    start(other, "resume")
    upload(other, "run_upload_4", saved, "a.run")
    until(other, lambda: visit_of(other).results)
    assert not other.error
    assert client.states[-1] == str(STEPS // 2).encode()
    assert client.calls[-1].sha256 == client.calls[0].sha256


def test_a_run_waits_for_another_visitors_run_and_can_be_stopped_meanwhile(client, page, monkeypatch):
    client.gate = threading.Semaphore(0)
    monkeypatch.setattr(visits, "QUEUE", RunQueue(1))
    other = opened()
    start(other)
    until(other, lambda: client.calls)
    start(page)
    until(page, lambda: "Waiting: 1 run ahead of yours" in progress(page))
    start(page, "stop")
    until(page, lambda: "Stopped before the first step" in text_of(page))
    assert len(client.calls) == 1
    client.gate.release(99)
    finish(page, "continue")
    assert f"{STEPS} steps in" in text_of(page)


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        ({"ends_early": "converged"}, "info", "The picture had stopped changing, so the run ended early."),
        ({"ends_early": "not_finite"}, "warning", "kept its last good picture. Lower the learning rate or the"),
        ({"run_problem": Overloaded("queue is full")}, "error", "The server is busy: try again in a minute."),
    ],
    ids=["converged", "not finite", "busy"],
)
def test_a_run_that_ends_early_says_why(client, page, end, kind, words):
    vars(client).update(end)
    finish(page)
    assert [words in element.value for element in page.get(kind)] == [True]
    assert ("continue" in keys(page, "button")) == (kind == "error")


def test_a_run_whose_time_is_up_says_so_and_has_as_long_again(client, page, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_S", most_s := STEPS / 10 / 2)  # half of the run
    finish(page)
    said = f"A run may paint for {wording.duration(most_s)} on this page, so it ended early"
    assert [element.value for element in page.info] == [f"{said}: press Continue for as long again."]
    assert len(visit_of(page).results) == 1
    finish(page, "continue")
    assert (f"{STEPS} steps in" in text_of(page), page.info.values) == (True, [])
    assert wording.out_of_time(most_s, can_continue=False) == f"{said}."
