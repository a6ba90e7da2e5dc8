"""What the page says and shows, apart from Streamlit."""

import base64
import dataclasses
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from model.layers import Layer
from model.limits import MAX_INPUT_PX
from model.presets import PRESETS
from model.settings import GROUPS, SETTINGS, StyleSettings
from serving import results
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
)
from serving.results import Origin
from tests.ui.fakes import encoded
from ui import backend, chart, compare, history, knobs, uploads, wording
from ui.jobs import Snapshot, Status

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


def test_time_left():
    assert wording.time_left(None) == "estimating the time left"
    assert wording.time_left(1) == "almost done"
    assert wording.time_left(42) == "about 40 seconds left"


def test_speed_is_given_in_the_unit_that_reads_well():
    assert [wording.speed(s) for s in (0, 0.25, 6.28, 31.4)] == ["", "4.0 s a step", "6.3 steps/s", "31 steps/s"]


def test_progress_line():
    now = Snapshot(Status.RUNNING, steps=300)
    assert wording.progress_line(now) == "Sending the pictures"
    now = dataclasses.replace(now, step=134, steps_per_s=6.3, seconds_left=26)
    assert wording.progress_line(now) == "Step 134 of 300 · 6.3 steps/s · about 25 seconds left"
    assert wording.progress_line(dataclasses.replace(now, status=Status.STOPPING)) == "Stopping after the current step…"


def test_a_server_that_does_not_answer_is_told_with_where_the_run_goes_on():
    now = Snapshot(Status.RUNNING, steps=300, step=134, problem=ServingUnavailable("gone"))
    assert wording.progress_line(now) == "Step 134 of 300 · waiting for the server"
    assert "does not answer" in wording.interrupted(now)
    assert "will resume from step 134 automatically" in wording.interrupted(now)
    now = dataclasses.replace(now, step=0, problem=Overloaded("full"))
    assert "is busy" in wording.interrupted(now)
    assert "run will start automatically" in wording.interrupted(now)


def test_summary():
    now = Snapshot(Status.DONE, step=300, steps=300, seconds=61)
    assert wording.summary(now) == "300 steps in 1 minute"
    now = dataclasses.replace(now, status=Status.STOPPED, step=134)
    assert wording.summary(now) == "Stopped at step 134 of 300, after 1 minute"


# Loss curve


def test_loss_table_gives_each_term_at_each_step():
    table = chart.loss_table(np.array([[4, 3, 2, 1], [0.4, 0.3, 0.2, 0.1]], np.float32))
    assert len(table) == 8
    assert table[0] == {"step": 1, "term": "Total", "loss": 4.0}
    assert [row["term"] for row in table if row["step"] == 2] == ["Total", "Content", "Style", "Total variation"]


def test_loss_table_leaves_out_what_a_logarithm_cannot_show():
    table = chart.loss_table(np.array([[np.nan, 0, -1, np.inf], [1, 1, 1, 1]], np.float32))
    assert [row["step"] for row in table] == [2, 2, 2, 2]


def test_loss_table_thins_long_runs_and_keeps_both_ends():
    table = chart.loss_table(np.ones((5000, 4), np.float32), points=100)
    steps = [row["step"] for row in table if row["term"] == "Style"]
    assert len(steps) == 100
    assert steps[0] == 1
    assert steps[-1] == 5000


def test_loss_table_of_nothing_is_empty():
    assert chart.loss_table(np.empty((0, 4), np.float32)) == []


def test_loss_chart_is_logarithmic_and_as_long_as_the_run():
    spec = chart.loss_chart(500)
    assert spec["encoding"]["y"]["scale"]["type"] == "log"
    assert spec["encoding"]["x"]["scale"]["domain"] == [0, 500]


# Knobs


def test_every_setting_has_one_knob():
    advanced = [name for names in knobs.ADVANCED.values() for name in names]
    assert sorted([*knobs.VISIBLE, *advanced, knobs.BLEND]) == sorted(SETTINGS)
    assert tuple(knobs.ADVANCED) == GROUPS
    for name, setting in SETTINGS.items():
        assert knobs.Knob.of(name).label.startswith(setting.label)


@pytest.mark.parametrize("preset", PRESETS)
def test_knobs_and_settings_are_one(preset):
    shown = knobs.preset_values(preset)
    assert knobs.to_settings(shown) == StyleSettings(preset)
    assert knobs.matching_preset(shown) == preset
    assert str(knobs.to_settings(shown, preset)) == str(StyleSettings(preset))
    assert knobs.preset_label(preset)


def test_only_what_differs_from_the_preset_is_sent():
    shown = knobs.preset_values("classic") | {"steps": 40, "blend_weights": "1/0.5"}
    assert knobs.matching_preset(shown, "classic") is None
    assert knobs.turned(shown, "classic") == ("steps",)
    assert str(knobs.to_settings(shown, "classic")) == "preset=classic,steps=40,blend_weights=1/0.5"


def test_blend_weights_are_sent_only_where_they_differ():
    assert [knobs.blend_text(weights) for weights in ((), (1.0,), (0.5, 0.5), (1.0, 0.25))] == ["", "", "", "1/0.25"]


def test_the_preset_one_started_from_goes_before_others_that_are_alike(monkeypatch):
    monkeypatch.setattr(knobs, "PRESETS", {"balanced": {}, "quick": {}})
    monkeypatch.setattr(knobs, "turned", lambda *_: ())
    assert knobs.matching_preset({}, "quick") == "quick"


def test_a_turned_knob_belongs_to_no_preset():
    shown = knobs.preset_values("balanced") | {"style_layers": "block1_conv1:2/block4_conv1"}
    assert knobs.matching_preset(shown) is None
    assert knobs.to_settings(shown).style_layers == (Layer("block1_conv1", 2.0), Layer("block4_conv1"))


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].kind in ("integer", "number")])
def test_a_knob_can_be_turned_both_ways_or_stands_at_its_end(name):
    knob = knobs.Knob.of(name)
    default, low, high = knob.setting.default, knob.setting.low, knob.setting.high
    assert type(knob.step) is type(default)
    assert default + knob.step <= high or default == high
    assert default - knob.step >= low or default == low


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
        knobs.to_settings(knobs.preset_values("balanced") | values)
    assert knobs.explain(caught.value).startswith(words)


# Uploads


def test_a_picture_is_loaded_with_a_thumbnail_that_fits_its_card():
    picture = uploads.load(encoded(300, 900), "content", "a tower")
    assert (picture.width, picture.height, picture.alt) == (300, 900, "a tower")
    with Image.open(io.BytesIO(picture.thumbnail)) as thumbnail:
        assert thumbnail.size == uploads.THUMBNAIL_PX
        assert thumbnail.getpixel((240, 160)) == (200, 90, 40, 255)
        assert thumbnail.getpixel((120, 160))[3] == 0


@pytest.mark.parametrize("data", [b"", b"not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_picture_is_refused_in_plain_words(data):
    with pytest.raises(uploads.BadPicture) as caught:
        uploads.load(data, "content", "")
    assert str(caught.value) == uploads.NO_PICTURE


def test_a_heif_picture_is_told_what_to_do_about_it():
    with pytest.raises(uploads.BadPicture, match=r"HEIF picture .* save or export it as JPEG first"):
        uploads.load(b"\0\0\0\x18ftypheic" + bytes(20), "content", "")


def header_of(width: int, height: int) -> bytes:
    """Returns a BMP's header that claims a size, with nothing behind it."""
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "BMP")
    data = bytearray(out.getvalue())
    data[18:22], data[22:26] = width.to_bytes(4, "little"), height.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("width", "height"), [(8000, 8001), (10_000, 10_000), (30_000, 30_000)])
def test_what_is_too_large_is_refused_before_it_is_decoded(width, height):
    assert width * height > MAX_INPUT_PX
    with pytest.raises(uploads.BadPicture, match="64 megapixels: make it smaller"):
        uploads.load(header_of(width, height), "content", "")


@pytest.mark.parametrize("length", [20, 2000])
def test_what_is_damaged_is_refused_in_plain_words(length):
    noise = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(noise, "PNG")
    with pytest.raises(uploads.BadPicture) as caught:
        uploads.load(noise.getvalue()[:length], "style", "")
    assert str(caught.value) == uploads.BROKEN


def test_as_png():
    assert uploads.as_png(encoded()) == encoded()
    with Image.open(io.BytesIO(uploads.as_png(encoded(kind="JPEG")))) as image:
        assert image.format == "PNG"
        assert image.size == (24, 16)


# Results

ORIGIN = Origin(StyleSettings("classic", steps=9), {"digest": "ab"}, "c" * 64, ("d" * 64,), 7, 9)


@pytest.mark.parametrize("name", history.FORMATS)
@pytest.mark.parametrize("source", ["PNG", "JPEG"])
def test_a_download_says_what_made_it(name, source):
    data = history.encode(encoded(kind=source), name, ORIGIN)
    assert results.origin_of(data) == dataclasses.replace(ORIGIN, settings=results.settings_of(data))
    assert results.settings_of(data) == ORIGIN.settings
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == (name.upper(), (24, 16))
    assert uploads.load(data, "content", "").settings == ORIGIN.settings


def test_a_visit_keeps_the_last_results_and_one_for_each_job():
    kept = ()
    for number in range(history.MOST + 3):
        kept = history.keep(kept, number, encoded(), b"", ORIGIN)
    kept = history.keep(kept, 10, encoded(30, 30, kind="JPEG"), b"", ORIGIN)
    assert len(kept) == history.MOST
    assert [one.number for one in kept[:3]] == [10, 14, 13]
    assert kept[0].png.startswith(b"\x89PNG")


def test_the_zip_has_every_result_oldest_first():
    kept = history.keep(history.keep((), 1, encoded(20, 10), b"", ORIGIN), 2, encoded(10, 20), b"", ORIGIN)
    with zipfile.ZipFile(io.BytesIO(history.as_zip(kept))) as archive:
        assert archive.namelist() == ["stylised-01.png", "stylised-02.png"]
        with Image.open(archive.open("stylised-01.png")) as image:
            assert image.size == (20, 10)
        assert results.settings_of(archive.read("stylised-02.png")) == ORIGIN.settings


def test_before_and_after_are_equally_large():
    pair = compare.pair(encoded(300, 200, kind="JPEG"), encoded(2400, 1600))
    assert pair is not None
    for url in pair.values():
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            assert image.size == (1024, 683)
    assert compare.pair(b"no picture", encoded()) is None


# Server


def test_the_address_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("NST_SERVING_URL", raising=False)
    assert backend.address() == "grpc://127.0.0.1:8500"
    monkeypatch.setenv("NST_SERVING_URL", "http://gpu:8501")
    assert backend.address() == "http://gpu:8501"


def test_a_path_is_no_server():
    with pytest.raises(InvalidInput, match="NST_SERVING_URL"):
        backend.connect("models/style_transfer")


def test_what_the_server_says_of_itself():
    weights = {"name": "x", "digest": "0123456789abcdef", "notice": "Random weights."}
    described = {"weights": weights, "precision": "float32", "device": "GPU"}
    server = backend.read(described, "grpc://x:1", 7)
    assert server.ready
    assert server.notice == "Random weights."
    assert server.facts == (
        ("Weights", "x (01234567)"),
        ("Precision", "float32"),
        ("Device", "GPU"),
        ("Model version", "7"),
    )
    assert backend.read({}, "grpc://x:1").facts == ()


@pytest.mark.parametrize(("text", "runs"), [("", 2), ("5", 5), ("0", 1), ("many", 2)])
def test_how_many_runs_are_at_work_at_once(monkeypatch, text, runs):
    monkeypatch.setenv(backend.RUNS_VARIABLE, text)
    assert backend.runs_at_once() == runs


def test_every_error_has_its_own_sentence():
    errors = (ServingUnavailable, ModelNotFound, Overloaded, DeadlineExceeded, InvalidInput, ServingFailed)
    sentences = {backend.sentence(error("x."), "grpc://x:1") for error in errors}
    assert len(sentences) == len(errors)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
