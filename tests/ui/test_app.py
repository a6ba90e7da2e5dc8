"""The page as a whole, through Streamlit's own test harness and a client that needs no server."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from model.limits import MAX_STYLES
from model.presets import PRESETS
from model.settings import GROUPS, StyleSettings
from serving import results
from serving.errors import DeadlineExceeded, Overloaded, ServingUnavailable
from serving.files import sha256
from serving.request import Request
from tests.conftest import decoded, encode
from tests.ui.fakes import FakeClient, encoded
from tests.ui.test_views import header_of
from ui import backend, history, visiting
from ui.jobs import LARGER_STEPS, REFINE_STEPS, Job
from ui.samples import CONTENTS, STYLES
from ui.visits import Visit

ROOT = Path(__file__).resolve().parents[2]
STEPS = StyleSettings().steps


@pytest.fixture
def client(monkeypatch) -> Iterator[FakeClient]:
    fake = FakeClient()
    monkeypatch.setattr(backend, "connect", lambda server: fake)
    monkeypatch.setattr(backend, "served_versions", lambda server: [3, 2])
    monkeypatch.setenv("NST_SERVING_URL", "grpc://fake:8500")
    yield fake
    st.cache_resource.clear()  # all pages of the harness have one session's name, and so one session's cache


@pytest.fixture
def page(client) -> AppTest:
    return AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20).run()


def text_of(page: AppTest) -> str:
    shown = [*page.error, *page.warning, *page.info, *page.caption, *page.markdown]
    return "\n".join(str(element.value) for element in shown)


def until(page: AppTest, condition, timeout_s: float = 60.0) -> None:
    """Redraws, as the browser's timer does, until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, text_of(page)
        time.sleep(0.02)
        page.run()


def keys(page: AppTest, kind: str) -> set[str]:
    return {element.key for element in page.get(kind)}


def visit_of(page: AppTest) -> Visit:
    return visiting.visits().enter(page.session_state["visit"])


def test_first_visit_has_a_pair_and_a_free_button(page):
    assert not page.exception
    assert not page.error
    assert page.title[0].value == "Neural style transfer"
    assert not page.button(key="start").disabled
    assert len(page.get("image")) == 2
    badges = text_of(page)
    for fact in (
        "Server ready",
        "grpc://fake:8500",
        "imagenet (01234567)",
        "bfloat16",
        "Device: CPU",
        "Model version: 3",
    ):
        assert fact in badges


def test_one_click_gives_a_picture(client, page):
    client.gate = threading.Semaphore(0)
    page.button(key="start").click().run()
    until(page, lambda: f"Step {STEPS // 4} of {STEPS}" in page.get("progress")[0].proto.text)
    assert page.button(key="start").disabled
    assert not page.button(key="stop").disabled
    assert page.get("progress")[0].value == 25
    assert len(page.get("image")) == 3
    assert page.get("vega_lite_chart")
    client.gate.release(3)
    until(page, lambda: page.get("download_button"))
    assert not page.exception
    assert not page.error
    assert f"{STEPS} steps in {STEPS // 10} seconds" in text_of(page)
    assert not page.button(key="start").disabled
    assert not page.get("progress")
    call = client.calls[0]
    assert call.content == CONTENTS[0].path.read_bytes()
    assert call.styles == (STYLES[0].path.read_bytes(),)
    assert call.settings == StyleSettings()


def test_stop_keeps_the_picture_and_continue_finishes_it(client, page):
    client.gate = threading.Semaphore(0)
    page.button(key="start").click().run()
    until(page, lambda: f"Step {STEPS // 4}" in page.get("progress")[0].proto.text)
    page.button(key="stop").click().run()
    client.gate.release()
    until(page, lambda: page.get("download_button"))
    assert f"Stopped at step {STEPS // 4} of {STEPS}" in text_of(page)
    assert not page.exception
    client.gate = None
    page.button(key="continue").click().run()
    until(page, lambda: f"{STEPS} steps in" in text_of(page))
    assert client.states[1] == str(STEPS // 4).encode()


def test_other_samples_and_knobs_reach_the_server(client, page):
    page.button_group(key="content_sample").set_value(CONTENTS[1].name).run()
    page.button_group(key="style_sample").set_value(STYLES[2].name).run()
    page.button_group(key="preset").set_value("quick").run()
    page.number_input(key="knob_style_weight").set_value(2500.0).run()
    page.selectbox(key="knob_statistics").set_value("gram").run()
    page.text_input(key="knob_style_layers").set_value("block2_conv1:2").run()
    assert page.button_group(key="preset").value in (None, [])
    page.button(key="start").click().run()
    until(page, lambda: client.calls)
    settings = StyleSettings("quick", style_weight=2500, statistics="gram", style_layers=(("block2_conv1", 2.0),))
    assert str(client.calls[0].settings) == str(settings)
    assert client.calls[0].content == CONTENTS[1].path.read_bytes()
    assert client.calls[0].styles == (STYLES[2].path.read_bytes(),)


def test_a_reproduction_turns_every_knob_and_is_named_to_the_server(client, page):
    assert page.button_group(key="preset").options == ["Quick", "Balanced", "Fine"]
    page.selectbox(key="reproduction").set_value("gatys2016").run()
    assert page.button_group(key="preset").value in (None, [])
    assert page.selectbox(key="knob_optimizer").value == "lbfgs"
    page.number_input(key="knob_steps").set_value(40).run()
    assert page.selectbox(key="reproduction").value is None
    assert "Gatys, Ecker and Bethge, 2016 (modified: Steps)" in text_of(page)
    page.button(key="start").click().run()
    until(page, lambda: client.calls)
    assert str(client.calls[0].settings) == "preset=gatys2016,steps=40"
    page.button_group(key="preset").set_value("balanced").run()
    assert page.number_input(key="knob_steps").value == STEPS
    assert "modified:" not in text_of(page)


def test_variations_give_a_grid_whose_settings_can_be_taken(client, page):
    page.button(key="vary").click().run()
    until(page, lambda: "download_sheet" in keys(page, "download_button"))
    assert not page.exception
    assert len(client.calls) == 9
    grid = visit_of(page).sweep.rows
    page.button(key=f"use_{grid[2][0].number}").click().run()
    assert page.number_input(key="knob_style_weight").value == 5000
    assert page.number_input(key="knob_style_scale").value == 0.6
    assert page.number_input(key="knob_size").value == 512
    page.button(key="start").click().run()
    until(page, lambda: "download" in keys(page, "download_button"))
    assert "download_sheet" not in keys(page, "download_button")
    assert client.calls[9].settings.style_weight == 5000


def masks_of(page: AppTest, which: int, mask: bytes) -> None:
    """Brings a mask for one of the masks that there can be."""
    page.selectbox(key="mask_target").set_value(page.selectbox(key="mask_target").options[which]).run()
    uploader = max(key for key in keys(page, "file_uploader") if key.startswith("mask"))
    page.file_uploader(key=uploader).upload("mask.png", mask, "image/png").run()


def test_each_style_gets_its_masks_and_the_result_says_so(client, page):
    page.button_group(key="content_sample").set_value(CONTENTS[1].name).run()
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([STYLES[0].name, STYLES[2].name]).run()
    assert "mask_target" not in keys(page, "selectbox")
    page.session_state["masks_open"] = True
    page.run()
    sky, part = encoded(30, 20, colour=(255, 255, 255)), encoded(20, 20, colour=(9, 9, 9))
    masks_of(page, 1, sky)
    masks_of(page, 2, part)
    assert f"{STYLES[2].label} painted where the mask is; {STYLES[0].label} where none of them does." in text_of(page)
    assert f"Of {STYLES[0].label} only the masked part counts." in text_of(page)
    page.button(key="start").click().run()
    until(page, lambda: "refine" in keys(page, "button"))
    assert client.calls[0].content_masks == (b"", sky)
    assert client.calls[0].style_masks == (part, b"")
    assert visit_of(page).kept[0].origin.guides_sha256 == {
        "content_masks": (sha256(b""), sha256(sky)),
        "style_masks": (sha256(part), sha256(b"")),
    }
    masks_of(page, 1, encoded(colour=(0, 0, 0)))
    assert "black everywhere" in page.error[0].value
    masks_of(page, 1, sky)
    page.button_group(key="content_sample").set_value(CONTENTS[0].name).run()
    page.button(key="start").click().run()
    until(page, lambda: len(client.calls) == 2)
    assert client.calls[1].content_masks == ()


def test_what_is_transparent_in_a_mask_is_not_painted(page):
    page.button_group(key="content_sample").set_value(CONTENTS[1].name).run()
    page.session_state["masks_open"] = True
    page.run()
    layer = Image.new("RGBA", (20, 10), (255, 255, 255, 0))
    masks_of(page, 0, encode(layer))
    assert "black everywhere" in page.error[0].value
    layer.paste("white", (0, 0, 10, 10))
    masks_of(page, 0, encode(layer))
    assert not page.error
    (mask,) = visit_of(page).masks.values()
    assert decoded(mask)[5, ::10].tolist() == [[255] * 3, [0] * 3]


def linked(**query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20)
    page.query_params.update(query)
    return page.run()


def test_the_address_reproduces_what_the_page_shows(client, page):
    assert not page.query_params
    page.button_group(key="preset").set_value("quick").run()
    page.number_input(key="knob_style_weight").set_value(2500.0).run()
    page.text_input(key="knob_style_layers").set_value("block2_conv1:2").run()
    page.button_group(key="content_sample").set_value(CONTENTS[1].name).run()
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([STYLES[0].name, STYLES[2].name]).run()
    page.slider[1].set_value(0.25).run()
    assert page.query_params["style_weight"] == "2500"
    st.cache_resource.clear()
    other = linked(**dict(page.query_params))
    for shown in (page, other):
        shown.button(key="start").click().run()
    until(other, lambda: len(client.calls) == 2)
    assert client.calls[0] == client.calls[1]
    assert client.calls[0].settings.style_weight == 2500
    assert client.calls[0].settings.blend_weights == (1, 0.25)
    assert not other.warning


def test_what_is_wrong_in_a_link_is_left_out_and_told_in_plain_words(client):
    page = linked(size="huge", steps="40", preset="none", content="moon", style="`[x](http://y)", colour="<b>")
    assert not page.exception
    assert [warning.value for warning in page.warning] == [
        "Some settings in this link were ignored: Preset must be one of "
        + ", ".join(PRESETS)
        + ". Size must be an integer from 16 to 4096. There is no setting `colour`. There is no sample `moon`. "
        "There is no sample `[x](http://y)`."
    ]
    assert page.number_input(key="knob_steps").value == 40
    assert page.number_input(key="knob_size").value == 512
    page = linked(style_weight="0", content_weight="0", total_variation_weight="0")
    assert "At least one of the three weights must be above 0." in page.warning[0].value
    assert not page.button(key="start").disabled


def test_every_setting_stands_under_its_heading(page):
    headings = [element.value for element in page.expander[0].markdown]
    assert [heading for heading in headings if heading.startswith("**")] == [f"**{group}**" for group in GROUPS]


def test_bad_layers_are_explained_and_block_the_start(page):
    page.text_input(key="knob_style_layers").set_value("block9").run()
    assert [error.value.split(" must")[0] for error in page.error] == ["Style layers"]
    assert page.button(key="start").disabled
    assert not page.exception


def test_an_upload_is_used_and_a_sample_takes_its_place_again(client, page):
    mine = encoded(40, 30)
    page.file_uploader(key="content_upload_0").upload("mine.png", mine, "image/png").run()
    assert page.button_group(key="content_sample").value in (None, [])
    page.button(key="start").click().run()
    until(page, lambda: client.calls and page.get("download_button"))
    assert client.calls[0].content == mine
    page.button_group(key="content_sample").set_value(CONTENTS[1].name).run()
    page.button(key="start").click().run()
    until(page, lambda: len(client.calls) == 2)
    assert client.calls[1].content == CONTENTS[1].path.read_bytes()


@pytest.mark.parametrize(
    ("data", "words"), [(b"no picture", "not a picture"), (header_of(9000, 9000), "81 megapixels")]
)
def test_a_bad_file_is_one_sentence_and_the_page_goes_on(client, page, data, words):
    page.file_uploader(key="style_upload_0").upload("x.bmp", data, "image/bmp").run()
    assert len(page.error) == 1
    assert words in page.error[0].value
    assert not page.exception
    assert page.button(key="start").disabled
    page.button_group(key="style_sample").set_value(STYLES[1].name).run()
    assert not page.error
    assert not page.button(key="start").disabled


def test_the_results_of_a_visit_are_kept_reused_and_thrown_away(client, page):
    def run(steps: int) -> None:
        page.number_input(key="knob_steps").set_value(steps).run()
        page.button(key="start").click().run()
        until(page, lambda: f"{steps} of {steps} steps" in text_of(page) and not page.button(key="start").disabled)

    assert "download_all" not in keys(page, "download_button")
    run(40)
    run(80)
    page.run()
    kept = visit_of(page).kept
    assert [one.origin.settings.steps for one in kept] == [80, 40]
    assert kept[0].origin.model["digest"] == "0123"
    assert "download_all" in keys(page, "download_button")
    page.button(key=f"reuse_{kept[1].number}").click().run()
    assert page.number_input(key="knob_steps").value == 40
    page.button(key=f"delete_{kept[0].number}").click().run()
    page.run()
    assert [one.origin.settings.steps for one in visit_of(page).kept] == [40]
    assert not page.exception


def test_a_result_is_refined_and_enlarged_and_each_joins_the_history(client, page):
    page.button(key="start").click().run()
    until(page, lambda: "refine" in keys(page, "button"))
    page.button(key="refine").click().run()
    until(page, lambda: f"512 px, {REFINE_STEPS} of {REFINE_STEPS}" in text_of(page))
    page.button(key="larger").click().run()
    until(page, lambda: f"1024 px, {LARGER_STEPS} of {LARGER_STEPS}" in text_of(page))
    page.run()
    assert [call.initial for call in client.calls] == [b"", encoded(), encoded()]
    assert [str(call.settings) for call in client.calls[1:]] == [
        f"size=512,steps={REFINE_STEPS},smallest_size=512",
        f"size=1024,steps={LARGER_STEPS},smallest_size=513",
    ]
    assert [one.origin.settings.size for one in visit_of(page).kept] == [1024, 512, 512]
    assert "from another result" in text_of(page)
    assert page.number_input(key="knob_steps").value == STEPS


def another_page(key: str) -> AppTest:
    """Returns the page that a tab draws when it is loaded anew and says which visit it had."""
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20)
    page.session_state["visit"] = key
    return page.run()


def test_a_page_that_is_loaded_anew_finds_its_run_pictures_and_results(client, page):
    page.file_uploader(key="content_upload_0").upload("mine.png", encoded(40, 30), "image/png").run()
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([STYLES[0].name, STYLES[2].name]).run()
    page.button(key="start").click().run()
    until(page, lambda: "refine" in keys(page, "button"))
    client.gate = threading.Semaphore(0)
    page.button(key="refine").click().run()
    until(page, lambda: f"Step {REFINE_STEPS // 4}" in page.get("progress")[0].proto.text)
    again = another_page(page.session_state["visit"])
    assert f"Step {REFINE_STEPS // 4} of {REFINE_STEPS}" in again.get("progress")[0].proto.text
    assert again.get("image")[0].proto.imgs[0].alt == "Your content picture, mine.png"
    assert list(sliders(again)) == [STYLES[0].label, STYLES[2].label]
    assert f"{STEPS} of {STEPS} steps" in text_of(again)
    client.gate.release(9)
    until(again, lambda: f"512 px, {REFINE_STEPS} of {REFINE_STEPS}" in text_of(again))


def test_a_visit_that_was_forgotten_under_its_page_begins_anew(page):
    st.cache_resource.clear()
    page.run()
    assert len(page.get("image")) == 2
    assert not page.button(key="start").disabled


def test_a_page_sees_nothing_of_another_visit(client, page):
    page.button(key="start").click().run()
    until(page, lambda: "download_all" in keys(page, "download_button"))
    stranger = another_page("a-key-that-nobody-has")
    assert not stranger.get("download_button")
    assert stranger.session_state["visit"] != page.session_state["visit"]


def test_a_run_that_goes_on_takes_the_place_of_what_it_was(client, page):
    client.gate, client.renders = threading.Semaphore(0), True
    page.button(key="start").click().run()
    until(page, lambda: f"Step {STEPS // 4}" in page.get("progress")[0].proto.text)
    page.button(key="stop").click().run()
    client.gate.release()
    until(page, lambda: "download_all" in keys(page, "download_button"))
    assert visit_of(page).kept[0].origin.step == STEPS // 4
    client.gate = None
    page.button(key="continue").click().run()
    until(page, lambda: f"{STEPS} of {STEPS} steps" in text_of(page))
    assert [one.origin.step for one in visit_of(page).kept] == [STEPS]


@pytest.mark.parametrize("name", history.FORMATS)
def test_a_result_can_be_had_in_each_format(client, page, name):
    page.button(key="start").click().run()
    until(page, lambda: page.get("download_button"))
    page.button_group(key="format_switch").set_value(name).run()
    assert page.get("download_button")[0].label == f"Download {name}"
    page.button(key="start").click().run()
    until(page, lambda: len(client.calls) == 2 and "download" in keys(page, "download_button"))
    assert page.get("download_button")[0].label == f"Download {name}"


def sliders(page: AppTest) -> dict[str, float]:
    return {slider.label: slider.value for slider in page.slider}


def test_several_styles_are_blended_by_their_sliders(client, page):
    assert not page.slider
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([STYLES[0].name, STYLES[2].name]).run()
    mine = encoded(30, 30)
    page.file_uploader(key="style_upload_0").upload("mine_1.png", mine, "image/png").run()
    assert sliders(page) == {STYLES[0].label: 1.0, STYLES[2].label: 1.0, "mine\\_1.png": 1.0}
    page.slider[1].set_value(0.25).run()
    page.button(key="start").click().run()
    until(page, lambda: client.calls)
    assert client.calls[0].styles == (STYLES[0].path.read_bytes(), STYLES[2].path.read_bytes(), mine)
    assert str(client.calls[0].settings) == "blend_weights=1/0.25/1"
    for slider in page.slider:
        slider.set_value(0.0)
    page.run()
    assert [error.value for error in page.error] == [
        "At least one style must be above 0: move its slider to the right."
    ]
    pills = page.button_group(key="style_samples")
    assert pills.options[-1] == "mine\\_1.png"
    pills.set_value(pills.value[-1:]).run()
    assert not page.slider
    assert not page.error
    assert [style.plain_name for style in visit_of(page).styles] == ["mine_1.png"]


def test_two_files_at_once_are_a_blend_and_one_takes_the_place_of_a_sample(client, page):
    files = [("a.png", encoded(20, 30), "image/png"), ("b.png", encoded(30, 20), "image/png")]
    page.file_uploader(key="style_upload_0").upload(*files[0]).run()
    assert not page.slider
    assert page.button_group(key="style_sample").value in (None, [])
    page.file_uploader(key="style_upload_1").set_value(files).run()
    assert sliders(page) == {"a.png": 1.0, "b.png": 1.0}
    page.toggle(key="blend").set_value(False).run()
    page.button(key="start").click().run()
    until(page, lambda: client.calls)
    assert client.calls[0].styles == (files[0][1],)


def test_more_styles_than_the_model_takes_are_left_out(page):
    files = [(f"{number}.png", encoded(20 + number, 30), "image/png") for number in range(MAX_STYLES + 1)]
    page.file_uploader(key="style_upload_0").set_value(files).run()
    assert len(page.slider) == MAX_STYLES
    assert [error.value for error in page.error] == [
        "Up to 8 styles can be blended: press the name of one to take it away first."
    ]
    pills = page.button_group(key="style_samples")
    pills.set_value(pills.value[1:]).run()
    assert len(page.slider) == MAX_STYLES - 1
    assert not page.error


def test_the_last_sample_of_a_blend_stays(page):
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([]).run()
    assert page.button_group(key="style_samples").value == [STYLES[0].name]
    assert not page.button(key="start").disabled


def test_a_result_that_is_brought_back_gives_its_settings(page):
    settings = StyleSettings("classic", steps=77, blend_weights=(1.0, 0.5))
    made = results.encode_result(encoded(40, 30), ".png", results.Origin(settings, {}, "", (), 77, 77))
    page.file_uploader(key="content_upload_0").upload("plain.png", encoded(40, 30), "image/png").run()
    assert "reuse" not in keys(page, "button")
    page.file_uploader(key="content_upload_1").upload("made.png", made, "image/png").run()
    page.button(key="reuse").click().run()
    assert page.number_input(key="knob_steps").value == 77
    assert page.selectbox(key="knob_statistics").value == "gram"
    page.toggle(key="blend").set_value(True).run()
    page.button_group(key="style_samples").set_value([style.name for style in STYLES[:2]]).run()
    page.button(key="reuse").click().run()
    assert list(sliders(page).values()) == [1.0, 0.5]
    assert not page.exception


def test_a_server_that_is_down_is_one_sentence_and_a_retry(client):
    client.problem = ServingUnavailable("connection refused: 127.0.0.1")
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20).run()
    assert len(page.error) == 1
    assert "grpc://fake:8500 does not answer" in page.error[0].value
    assert not page.exception
    assert page.button(key="start").disabled
    page.number_input(key="knob_size").set_value(256).run()  # the rest of the page is in use meanwhile
    client.problem = None
    page.button(key="retry").click().run()
    assert not page.error
    assert not page.button(key="start").disabled
    assert page.number_input(key="knob_size").value == 256


def test_a_server_that_is_busy_with_others_is_ready(client):
    client.problem = DeadlineExceeded("No answer within 10 s.")
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20).run()
    assert not page.error
    assert "Server ready" in text_of(page)
    assert "Model version: 3" in text_of(page)
    assert not page.button(key="start").disabled


def test_a_server_that_goes_away_in_mid_run_leaves_the_picture(client, page):
    client.run_problem, client.breaks_at = ServingUnavailable("gone"), 2
    client.problem = client.run_problem
    page.button(key="start").click().run()
    until(page, lambda: page.get("download_button"))
    assert [("does not answer" in e.value, f"at step {STEPS // 2}" in e.value) for e in page.error] == [
        (True, False),
        (False, True),
    ]
    assert page.button(key="start").disabled
    assert page.button(key="continue").disabled
    client.run_problem = client.problem = None
    page.button(key="retry").click().run()
    page.button(key="continue").click().run()
    until(page, lambda: f"{STEPS} steps in" in text_of(page))
    assert not page.error


def test_a_server_that_is_away_for_a_while_in_mid_run_is_told_and_the_run_goes_on(client, page):
    client.outage, client.breaks_at, client.gate = ServingUnavailable("gone"), 2, threading.Semaphore(1)
    page.button(key="start").click().run()
    until(page, lambda: "waiting for the server" in (page.get("progress") or [page])[0].proto.text)
    page.run()
    assert [error.value for error in page.error] == [
        "The server at grpc://fake:8500 does not answer: start it, or wait until it has loaded the model."
    ]
    assert [warning.value for warning in page.warning] == [
        f"The server does not answer just now: asking again. Your run will resume from step {STEPS // 2} automatically."
    ]
    assert "Server not ready" in text_of(page)
    assert not page.button(key="stop").disabled
    client.gate.release(9)
    until(page, lambda: f"{STEPS} steps in" in text_of(page))
    page.button(key="retry").click().run()
    assert not page.error
    assert not page.warning
    assert len(client.calls) == 1


def test_a_run_waits_for_its_turn_and_says_how_many_are_before_it(client, page):
    client.gate = threading.Semaphore(0)
    others = [Job(client, Request(encoded(), (encoded(),), StyleSettings()), visiting.line()) for _ in range(3)]
    for number, job in enumerate(others, start=1):
        job.start()
        until(page, lambda number=number: len(client.calls) == min(number, backend.RUNS_AT_ONCE))
    page.button(key="start").click().run()
    until(page, lambda: "Waiting: 2 runs before yours" in page.get("progress")[0].proto.text)
    page.button(key="stop").click().run()
    until(page, lambda: "Stopped before the first step" in text_of(page))
    client.gate.release(99)
    for job in others:
        job.wait(10)
    assert len(client.calls) == 3
    page.button(key="continue").click().run()
    until(page, lambda: f"{STEPS} steps in" in text_of(page))


def test_a_busy_server_is_one_sentence(client, page):
    client.run_problem = Overloaded("queue is full")
    page.button(key="start").click().run()
    until(page, lambda: page.error)
    assert [error.value for error in page.error] == ["The server is busy: try again in a minute."]
    assert not page.button(key="start").disabled
    assert not page.get("download_button")
    assert not page.exception


@pytest.mark.parametrize(
    ("why", "kind", "words"),
    [
        ("converged", "info", "The picture no longer changed, so it was finished early."),
        ("not_finite", "warning", "the last good picture is kept. A lower learning rate or lower weights"),
    ],
)
def test_a_run_that_ends_early_says_why(client, page, why, kind, words):
    client.ends_early = why
    page.button(key="start").click().run()
    until(page, lambda: page.get("download_button"))
    assert [words in element.value for element in page.get(kind)] == [True]
    assert f"Finished at step {STEPS // 2} of {STEPS}" in text_of(page)
    assert "continue" not in keys(page, "button")
    assert not page.error


def test_untrained_weights_are_announced(client):
    client.notice = "These weights are random."
    page = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=20).run()
    assert [warning.value for warning in page.warning] == ["These weights are random."]


def test_the_page_imports_no_tensorflow():
    program = (
        "import sys; from ui import gallery, live, panel, styles, visiting; "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules, 'tensorflow was imported'"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
