"""What the page says and shows, apart from Streamlit."""

import base64
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from model.layers import Layer
from model.limits import MAX_INPUT_PX
from model.presets import PRESETS
from model.settings import SETTINGS, StyleSettings
from serving import results
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
)  # fmt: skip
from serving.results import Origin
from tests.ui.fakes import FakeClient, encoded, header_of
from ui import chart, components, gallery, knobs, server, uploads, visits, wording
from ui.jobs import Snapshot, Status
from ui.visits import Result

# Wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"), (1, "1 second"), (8.4, "8 seconds"), (21, "20 seconds"), (43, "45 seconds"),
        (58, "1 minute"), (95, "2 minutes"), (3590, "1 hour"), (3600 * 2 + 1260, "2 h 20 min"),
    ],
)  # fmt: skip
def test_duration(seconds, words):
    assert wording.duration(seconds) == words


LINE, INTERRUPTED, SUMMARY = wording.progress_line, wording.interrupted, wording.summary
AWAY, BUSY = ServingUnavailable("gone"), Overloaded("full")


@pytest.mark.parametrize(
    ("say", "state", "words"),
    [
        (LINE, {}, "Sending the pictures"),
        (LINE, {"waits_for": 1}, "Waiting: 1 run before yours"),
        (LINE, {"step": 1}, "Step 1 of 300 · estimating the time left"),
        (LINE, {"step": 9, "steps_per_s": 0.25}, "Step 9 of 300 · 4.0 s a step · estimating the time left"),
        (LINE, {"step": 9, "steps_per_s": 6.28, "seconds_left": 26}, " · 6.3 steps/s · about 25 seconds left"),
        (LINE, {"step": 299, "steps_per_s": 31.4, "seconds_left": 1}, "Step 299 of 300 · 31 steps/s · almost done"),
        (LINE, {"step": 9, "problem": AWAY}, "Step 9 of 300 · waiting for the server"),
        (LINE, {"step": 9, "status": Status.STOPPING}, "Stopping after the current step…"),
        (INTERRUPTED, {"step": 9, "problem": AWAY}, "Your run will resume from step 9 automatically."),
        (INTERRUPTED, {"problem": BUSY}, "The server is busy: asking again. Your run will start automatically."),
        (SUMMARY, {"step": 300, "status": Status.DONE}, "300 steps in 1 minute"),
        (SUMMARY, {"step": 9, "status": Status.STOPPED}, "Stopped at step 9 of 300, after 1 minute"),
    ],
)
def test_what_is_said_of_a_run(say, state, words):
    assert say(Snapshot(**{"status": Status.RUNNING, "steps": 300, "seconds": 61, **state})).endswith(words)


# Loss curve


def test_the_loss_curve_has_each_term_at_each_step_that_a_logarithm_can_show():
    table = chart.loss_table(np.array([[4, 3, 2, 1], [0.4, 0.3, 0.2, 0.1], [np.nan, 0, -1, np.inf]], np.float32))
    assert len(table) == 8
    assert table[0] == {"step": 1, "term": "Total", "loss": 4.0}
    assert [row["term"] for row in table if row["step"] == 2] == ["Total", "Content", "Style", "Total variation"]


def test_the_loss_curve_thins_long_runs_and_keeps_both_ends():
    table = chart.loss_table(np.ones((5000, 4), np.float32), points=100)
    steps = [row["step"] for row in table if row["term"] == "Style"]
    assert (len(steps), steps[0], steps[-1]) == (100, 1, 5000)


# Knobs


def test_every_setting_has_one_knob():
    advanced = [name for names in knobs.ADVANCED.values() for name in names]
    assert sorted([*knobs.VISIBLE, *advanced, knobs.BLEND]) == sorted(SETTINGS)


@pytest.mark.parametrize("preset", PRESETS)
def test_knobs_and_settings_are_one(preset):
    shown = knobs.shown_values(StyleSettings(preset))
    assert knobs.to_settings(shown) == StyleSettings(preset)
    assert knobs.matching_preset(shown) == preset
    assert str(knobs.to_settings(shown, preset)) == str(StyleSettings(preset))


def test_only_what_differs_from_the_preset_is_sent():
    shown = knobs.shown_values(StyleSettings("classic"))
    shown |= {"style_layers": "block1_conv1:2/block4_conv1", "steps": 40, "blend_weights": "1/0.5"}
    assert knobs.matching_preset(shown) is None
    assert knobs.changed(shown, "classic") == ("steps", "style_layers")
    settings = knobs.to_settings(shown, "classic")
    assert settings.given == ("steps", "blend_weights", "style_layers")
    assert settings.style_layers == (Layer("block1_conv1", 2.0), Layer("block4_conv1"))


def test_blend_weights_are_sent_only_where_they_differ():
    assert [knobs.blend_text(weights) for weights in ((), (1.0,), (0.5, 0.5), (1.0, 0.25))] == ["", "", "", "1/0.25"]


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].kind in ("integer", "number")])
def test_a_knob_can_be_turned_both_ways_or_stands_at_its_end(name):
    setting, step = SETTINGS[name], knobs.step(SETTINGS[name])
    default, low, high = setting.default, setting.low, setting.high
    assert type(step) is type(default)  # or Streamlit refuses it
    assert default + step <= high or default == high
    assert default - step >= low or default == low


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"style_layers": "block9_conv1"}, "Style layers must be layers of the model"),
        ({"blend_weights": knobs.blend_text((0.0, 0.0))}, "At least one style must be above 0"),
        ({"size": None}, "Size must be an integer from 16 to 4096."),
        (dict.fromkeys(("style_weight", "content_weight", "total_variation_weight"), 0.0), "At least one of the three"),
    ],
)
def test_bad_values_are_explained_with_labels(values, words):
    with pytest.raises(InvalidInput) as caught:
        knobs.to_settings(knobs.shown_values(StyleSettings()) | values)
    assert knobs.explain(caught.value).startswith(words)


# Uploads


def test_a_picture_is_loaded_with_a_thumbnail_that_fits_its_card():
    picture = uploads.load(encoded(300, 900), "content", "a tower")
    with Image.open(io.BytesIO(picture.thumbnail)) as thumbnail:
        assert thumbnail.size == uploads.THUMBNAIL_PX
        assert thumbnail.getpixel((240, 160)) == (200, 90, 40, 255)
        assert thumbnail.getpixel((120, 160))[3] == 0


def damaged(length: int) -> bytes:
    noise = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(noise, "PNG")
    return noise.getvalue()[:length]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", uploads.NO_PICTURE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", uploads.NO_PICTURE),
        (b"\0\0\0\x18ftypheic" + bytes(20), "save or export it as JPEG first."),
        (header_of(8000, 8001), f"the limit is {MAX_INPUT_PX // 10**6} megapixels: make it smaller and try again."),
        (header_of(30_000, 30_000), f"larger than {MAX_INPUT_PX // 10**6} megapixels: make it smaller and try again."),
        (damaged(20), uploads.BROKEN),
        (damaged(2000), uploads.BROKEN),
    ],
    ids=["empty", "svg", "heif", "too large", "a bomb", "cut in its header", "cut in its pixels"],
)
def test_what_cannot_be_used_is_refused_in_plain_words(data, words):
    with pytest.raises(uploads.BadPicture) as caught:
        uploads.load(data, "content", "")
    assert str(caught.value).endswith(words)


def test_a_pasted_picture_is_a_file_named_by_its_type_and_anything_else_is_none():
    assert uploads.from_url("data:image/png;base64,aGFsbG8=", "pasted") == uploads.File("pasted.png", b"hallo")
    for url in ("", "data:text/html;base64,aGFsbG8=", "data:image/png;base64,?", "http://example.com/a.png"):
        assert uploads.from_url(url, "pasted") is None


# Results

ORIGIN = Origin(StyleSettings("classic", steps=9), {"digest": "ab"}, "c" * 64, ("d" * 64,), 7, 9)


@pytest.mark.parametrize("name", gallery.FORMATS)
@pytest.mark.parametrize("source", ["PNG", "JPEG"])
def test_a_download_says_what_made_it(name, source):
    data = gallery.encode(encoded(kind=source), name, ORIGIN)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == (name.upper(), (24, 16))
    assert uploads.load(data, "content", "").settings == ORIGIN.settings


def test_the_zip_has_every_result_oldest_first():
    newest_first = [Result(n, encoded(10 * n, 10), b"", b"", ORIGIN) for n in (2, 1)]
    with zipfile.ZipFile(io.BytesIO(gallery.as_zip(newest_first))) as archive:
        assert archive.namelist() == ["stylised-01.png", "stylised-02.png"]
        with Image.open(archive.open("stylised-01.png")) as image:
            assert image.size == (10, 10)
        assert results.settings_of(archive.read("stylised-02.png")) == ORIGIN.settings


def test_before_and_after_are_equally_large():
    pair = components.pair.__wrapped__(encoded(300, 200, kind="JPEG"), encoded(2400, 1600))
    for url in pair.values():
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            assert image.size == (1024, 683)


# Server


def test_the_address_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("NST_SERVING_URL", raising=False)
    assert server.address() == "grpc://127.0.0.1:8500"
    monkeypatch.setenv("NST_SERVING_URL", "http://gpu:8501")
    assert server.address() == "http://gpu:8501"


def test_a_path_is_no_server():
    with pytest.raises(InvalidInput, match="NST_SERVING_URL"):
        server.connect("models/style_transfer")


def test_a_server_that_is_busy_with_others_is_ready(monkeypatch):
    client = FakeClient(problem=DeadlineExceeded("No answer within 10 s."))
    monkeypatch.setattr(server, "served_versions", lambda address: [3, 2])
    assert server.ask(client).facts == {"Model version": "3"}
    assert not server.ask(client).problem
    monkeypatch.setattr(server, "served_versions", lambda address: [])
    assert "took too long to answer" in server.ask(client).problem


@pytest.mark.parametrize(("text", "runs"), [("", 2), ("5", 5), ("0", 1), ("many", 2)])
def test_how_many_runs_work_at_once(monkeypatch, text, runs):
    monkeypatch.setenv(visits.RUNS_VARIABLE, text)
    assert visits.runs_at_once() == runs


def test_every_error_has_its_own_sentence():
    errors = (ServingUnavailable, ModelNotFound, Overloaded, DeadlineExceeded, InvalidInput, ServingFailed)
    sentences = {server.explain(error("x.")) for error in errors}
    assert len(sentences) == len(errors)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
