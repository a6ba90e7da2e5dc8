"""What the page says and shows, tested without Streamlit."""

import base64
import io
import math
import threading
import time
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from model.limits import MAX_INPUT_PX
from model.presets import PRESETS
from model.settings import SETTINGS, StyleSettings
from serving import results
from serving.errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServingFailed,
    ServingUnavailable,
)
from serving.files import sha256
from serving.request import Request
from serving.results import Origin
from tests.conftest import decoded, encode
from tests.ui.fakes import FakeClient, encoded, header_of, until
from ui import chart, components, downloads, knobs, server, uploads, wording
from ui.film import LONGEST_PX, MOST_FRAMES, Film, as_webp
from ui.jobs import Snapshot, Status
from ui.samples import CONTENTS, STYLES
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
        (LINE, {"waits_for": 1}, "Waiting: 1 run ahead of yours"),
        (LINE, {"step": 1}, "Step 1 of 300 · estimating the time left"),
        (LINE, {"step": 9}, "Step 9 of 300 · estimating the time left"),
        (LINE, {"step": 9, "seconds_left": 26}, " · about 25 seconds left"),
        (LINE, {"step": 299, "seconds_left": 1}, "Step 299 of 300 · almost done"),
        (LINE, {"step": 9, "problem": AWAY}, "Step 9 of 300 · waiting for the server"),
        (LINE, {"step": 9, "status": Status.STOPPING}, "Stopping after the current step…"),
        (INTERRUPTED, {"step": 9, "problem": AWAY}, "Your run will resume from step 9 automatically."),
        (INTERRUPTED, {"problem": BUSY}, "The server is busy: trying again. Your run will start automatically."),
        (SUMMARY, {"step": 300, "status": Status.DONE}, "300 steps in 1 minute"),
        (
            SUMMARY,
            {"step": 9, "status": Status.DONE, "stopped": "converged"},
            "Finished at step 9 of 300, after 1 minute",
        ),
        (SUMMARY, {"step": 9, "status": Status.STOPPED}, "Stopped at step 9 of 300, after 1 minute"),
    ],
)
def test_the_lines_that_describe_a_run(say, state, words):
    assert say(Snapshot(**{"status": Status.RUNNING, "steps": 300, "seconds": 61, **state})).endswith(words)


def test_the_loss_curve_thins_long_runs_keeps_both_ends_and_skips_losses_without_a_logarithm():
    losses = np.ones((5000, 4), np.float32)
    losses[-1] = [np.nan, 0, 2, np.inf]
    lines = {name: [] for name in chart.LABELS.values()}
    for row in chart.loss_table(losses, before=10):  # of a saved run that continued after step 10
        lines[row["term"]].append((row["step"], row["loss"]))
    assert [len(line) for line in lines.values()] == [
        chart.POINTS - 1,
        chart.POINTS - 1,
        chart.POINTS,
        chart.POINTS - 1,
    ]
    assert (lines["Style"][0], lines["Style"][-1]) == ((11, 1), (5010, 2))


# Knobs


def test_every_setting_has_one_knob():
    advanced = [name for names in knobs.ADVANCED.values() for name in names]
    assert sorted([*advanced, knobs.BLEND]) == sorted(SETTINGS)


@pytest.mark.parametrize("preset", PRESETS)
def test_knobs_and_settings_convert_into_each_other(preset):
    shown = knobs.shown_values(StyleSettings(preset))
    assert knobs.matching_preset(shown) == preset
    assert str(knobs.to_settings(shown, preset)) == str(StyleSettings(preset))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_strength_is_a_stop_of_its_own_for_every_preset(preset):
    for strength in knobs.STRENGTHS:
        shown = knobs.shown_values(StyleSettings(preset)) | knobs.of_strength(strength, preset)
        assert knobs.strength(shown, preset) == strength
        assert not knobs.hidden_changes(shown, preset)


def test_weights_of_zero_are_the_ends_of_the_strength():
    shown = knobs.shown_values(StyleSettings())
    assert knobs.strength({**shown, "style_weight": 0.0}, "balanced") == "Photo"
    assert knobs.strength({**shown, "content_weight": 0.0}, "balanced") == "Painting"


@pytest.mark.parametrize(
    ("text", "most", "logged"), [("", 2, 0), (" 5 ", 5, 0), ("0", 1, 0), ("-5", 2, 1), ("1.5", 2, 1), ("many", 2, 1)]
)
def test_the_environment_limits_what_visitors_may_use_and_a_limit_that_is_no_number_is_logged(
    caplog, text, most, logged
):
    assert knobs.limit("NST_RUNS_AT_ONCE", 2, {"NST_RUNS_AT_ONCE": text}) == most
    expected = f"NST_RUNS_AT_ONCE must be a whole number, and is ignored. Received: {text}"
    assert caplog.messages == [expected] * logged


def test_a_limit_that_is_not_set_limits_nothing():
    assert knobs.limit("NST_MAX_SECONDS", environment={}) == math.inf


@pytest.mark.parametrize(
    ("text", "highest"), [("", 4096), ("1024", 1024), ("9999", 4096), ("-5", 4096), ("many", 4096)]
)
def test_the_environment_limits_sizes(text, highest):
    limits = knobs.limited({"NST_MAX_SIZE": text, "NST_MAX_STEPS": "50"})
    assert limits["size"].high == limits["style_size"].high == highest
    assert limits["steps"].high == 50


def test_settings_above_a_limit_are_refused(monkeypatch):
    monkeypatch.setattr(knobs, "SETTINGS", knobs.limited({"NST_MAX_STEPS": "50"}))
    with pytest.raises(InvalidInput) as caught:  # only the browser keeps a knob within its range
        knobs.to_settings(knobs.shown_values(StyleSettings()) | {"steps": 51})
    assert knobs.explain(caught.value) == "Steps must be an integer from 1 to 50."


def test_blend_weights_are_sent_only_if_they_differ():
    assert [knobs.blend_text(weights) for weights in ((), (1.0,), (0.5, 0.5), (1.0, 0.25))] == ["", "", "", "1/0.25"]


@pytest.mark.parametrize("name", [name for name in SETTINGS if SETTINGS[name].kind in ("integer", "number")])
def test_a_knob_can_be_turned_both_ways_unless_it_is_at_its_limit(name):
    setting, step = SETTINGS[name], knobs.step(SETTINGS[name])
    default, low, high = setting.default, setting.low, setting.high
    assert default + step <= high or default == high
    assert default - step >= low or default == low


def test_an_empty_knob_is_explained_with_its_label():
    with pytest.raises(InvalidInput) as caught:
        knobs.to_settings(knobs.shown_values(StyleSettings()) | {"size": None})
    assert knobs.explain(caught.value) == "Size must be an integer from 16 to 4096."


# Uploads


def test_a_picture_is_loaded_with_a_thumbnail_that_fits_its_card():
    picture = uploads.load(encoded(300, 900), "content", "a tower")
    with Image.open(io.BytesIO(picture.thumbnail)) as thumbnail:
        assert thumbnail.size == uploads.THUMBNAIL_PX
        assert thumbnail.getpixel((240, 160)) == (200, 90, 40, 255)
        assert thumbnail.getpixel((120, 160))[3] == 0


def damaged(length: int) -> bytes:
    return encode(Image.effect_noise((64, 64), 50))[:length]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", uploads.NO_PICTURE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", uploads.NO_PICTURE),
        (b"\0\0\0\x18ftypheic" + bytes(20), uploads.HEIF),
        (header_of(8000, 8001), f"the limit is {MAX_INPUT_PX // 10**6} megapixels: make it smaller and try again."),
        (header_of(30_000, 30_000), f"larger than {MAX_INPUT_PX // 10**6} megapixels: make it smaller and try again."),
        (damaged(20), uploads.BROKEN),
        (damaged(2000), uploads.BROKEN),
    ],
    ids=["empty", "svg", "heif", "too large", "a bomb", "cut in its header", "cut in its pixels"],
)
def test_unusable_files_are_refused_in_plain_words(data, words):
    with pytest.raises(uploads.BadPicture) as caught:
        uploads.load(data, "content", "")
    assert str(caught.value).endswith(words)


def test_a_large_photograph_is_held_as_the_file_that_it_came_in():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: it could not be sent as it is
    data = encode(Image.effect_noise((600, 400), 50), "JPEG", exif=exif)
    picture = uploads.load(data, "content", "")
    assert picture.data == data
    with Image.open(io.BytesIO(picture.thumbnail)) as thumbnail:
        assert thumbnail.getchannel("A").getbbox() == (134, 0, 347, 320)  # upright
    assert picture.digest == sha256(data)


def test_a_transparent_picture_stays_so_when_it_is_turned():
    half = Image.new("RGBA", (60, 40), (200, 90, 40, 255))
    half.paste((0, 0, 0, 0), (0, 0, 30, 40))
    with Image.open(io.BytesIO(uploads.turned(uploads.load(encode(half), "content", "")).data)) as turned:
        assert turned.size == (40, 60)
        assert turned.getchannel("A").getbbox() == (0, 30, 40, 60)


def test_a_pasted_file_is_named_by_its_type_and_read_like_any_other():
    assert uploads.from_url("data:image/png;base64,aGFsbG8=", "pasted") == uploads.File("pasted.png", b"hallo")
    assert uploads.from_url("data:image/tiff;base64,aGFsbG8=", "pasted") == uploads.File("pasted.tiff", b"hallo")
    assert uploads.from_url("data:;base64,aGFsbG8=", "pasted") == uploads.File("pasted", b"hallo")
    for url in ("", "data:image/png;base64,", "data:image/png;base64,?", "http://example.com/a.png"):
        assert uploads.from_url(url, "pasted") is None


def test_every_picture_in_the_folder_is_a_sample_and_is_listed_in_its_readme():
    folder, samples = CONTENTS[0].path.parent, CONTENTS + STYLES
    card = (folder / "README.md").read_text()
    assert sorted(folder.glob("*.jpg")) == sorted(sample.path for sample in samples)
    for sample in samples:
        data = sample.path.read_bytes()
        height, width, _ = decoded(data).shape
        assert max(height, width) == 768
        assert f"| `{sample.path.name}` | {sample.alt} | {width}×{height}, {len(data) / 1000:.0f} kB |" in card


# Results

ORIGIN = Origin(StyleSettings("classic", steps=9), {"digest": "ab"}, "c" * 64, ("d" * 64,), 7, 9)


NAMES = {"c" * 64: "Ein Bild: 猫.final.JPG", "d" * 64: "eddies", "e" * 64: "../..//x"}


def result(width: int, styles: tuple[str, ...] = ("d" * 64,), **origin) -> Result:
    """Returns a result of this width."""
    request = Request(
        encoded(4, 2, colour=(0, 100, 200)), (b"",), ORIGIN.settings, sha256={"content": ("c" * 64,), "styles": styles}
    )
    return Result(1, request, encoded(width, 10, colour=(200, 100, 0)), b"", replace(ORIGIN, **origin))


@pytest.mark.parametrize("name", downloads.FORMATS)
def test_a_download_holds_its_settings(name):
    data = downloads.encode(result(24), name)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == (name.upper(), (24, 10))
    assert uploads.load(data, "content", "").settings == ORIGIN.settings


def test_a_file_is_named_after_photograph_paintings_and_size():
    assert downloads.stem(result(24).request, NAMES) == "Ein_Bild_猫_final-eddies-512"
    assert downloads.stem(result(24, ("d" * 64, "e" * 64, "f", "f")).request, NAMES).endswith("-eddies-x-style-512")
    assert downloads.stem(Request(b"", (b"",)), {}) == "photo-512"


def test_the_photograph_is_mixed_into_a_result_and_the_file_says_so():
    one = result(20)
    assert downloads.mixed(one, 0) == one.png
    half = downloads.encode(one, "PNG", 0.25)
    np.testing.assert_array_equal(decoded(half), np.broadcast_to([150, 100, 50], (10, 20, 3)))
    assert results.origin_of(half).content_share == 0.25


def test_the_zip_holds_every_result_under_a_name_of_its_own_oldest_first():
    newest_first = [result(20), result(10), result(30, ("e" * 64,))]
    with zipfile.ZipFile(io.BytesIO(downloads.as_zip(newest_first, NAMES))) as archive:
        stem = "Ein_Bild_猫_final"
        assert archive.namelist() == [f"{stem}-x-512.png", f"{stem}-eddies-512.png", f"{stem}-eddies-512-2.png"]
        with Image.open(archive.open(archive.namelist()[1])) as image:
            assert image.size == (10, 10)
        assert results.settings_of(archive.read(archive.namelist()[2])) == ORIGIN.settings


def test_an_uploader_hands_its_files_over_once_although_a_browser_may_send_them_again(monkeypatch):
    files, taken = [SimpleNamespace(name=name, getvalue=lambda: b"data") for name in ("a.png", "b.png")], []
    monkeypatch.setattr(uploads.st, "session_state", {"photos_upload_0": files})
    for _ in range(2):
        uploads._uploaded("photos", "photos_upload_0", taken.extend)
    assert [file.name for file in taken] == ["a.png", "b.png"]


# Film


def test_a_film_has_frames_from_the_whole_run_and_ends_with_the_result():
    film, shown = Film(), 5 * MOST_FRAMES
    for number in range(shown):
        film.add(encoded(2 * LONGEST_PX, LONGEST_PX, "JPEG", (number, 0, 0)))
    reds = [int(decoded(frame)[0, 0, 0]) for frame in film.frames]
    steps = np.diff(reds)
    assert MOST_FRAMES / 2 <= len(reds) <= MOST_FRAMES
    assert (abs(steps - steps.mean()) < 3).all()  # JPEG changes a colour a little
    assert (reds[0], reds[-1]) == (pytest.approx(0, abs=2), pytest.approx(shown, abs=2 * steps.mean()))
    with Image.open(io.BytesIO(as_webp(film.frames, encoded(100, 50, colour=(0, 0, 255))))) as film:
        assert (film.format, film.n_frames, film.size) == ("WEBP", len(reds) + 1, (LONGEST_PX, LONGEST_PX // 2))
        film.seek(len(reds))
        assert film.convert("RGB").getpixel((9, 9))[2] > 250


def test_compared_pictures_have_the_same_size():
    pair = components.pair.__wrapped__(encoded(300, 200, kind="JPEG"), encoded(2400, 1600))
    for url in pair.values():
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            assert image.size == (1024, 683)


# Server


def test_a_path_is_not_a_servers_address():
    with pytest.raises(InvalidInput, match="NST_SERVING_URL"):
        server.connect("models/style_transfer")


def test_a_server_may_be_reached_over_tls(monkeypatch):
    monkeypatch.setenv("NST_SERVING_TOKEN", "t0ken")
    server.connect("grpcs://model.example:443").close()


def test_who_runs_the_page_reads_why_the_server_lets_nobody_in():
    assert server.explain(AccessDenied("https://host wants a token.")) == "https://host wants a token."


@pytest.mark.parametrize("address", ["https://me:s3cr3t@host", "ftp://me:s3cr3t@host"])
def test_a_password_in_the_servers_address_is_refused_and_not_shown(monkeypatch, caplog, address):
    monkeypatch.setenv("NST_SERVING_URL", address)
    assert server.ask().problem == "This page is not set up correctly: whoever runs it finds the reason in its log."
    assert "`server` must hold no user name" in caplog.text or "`NST_SERVING_URL` must be" in caplog.text
    assert "s3cr3t" not in caplog.text


def asked(monkeypatch, client: FakeClient, versions: list[int]) -> server.Server:
    monkeypatch.setattr(server, "connect", lambda address: client)
    monkeypatch.setattr(server, "served_versions", lambda address: versions)
    return server.ask()


def test_a_server_that_is_busy_with_other_runs_counts_as_ready(monkeypatch):
    client = FakeClient(problem=DeadlineExceeded("No answer within 10 s."))
    assert asked(monkeypatch, client, [3, 2]) == server.Server({"Model version": "3"})
    assert "took too long to answer" in asked(monkeypatch, client, []).problem


def test_a_wrong_address_is_a_problem_for_whoever_runs_the_page(monkeypatch, caplog):
    monkeypatch.setenv("NST_SERVING_URL", "models/secret")
    assert server.ask().problem == "This page is not set up correctly: whoever runs it finds the reason in its log."
    assert "Received: models/secret" in caplog.text


def test_the_server_is_asked_in_the_background_and_not_twice_at_once(monkeypatch):
    answer, calls = threading.Event(), []
    monkeypatch.setattr(server, "ask", lambda: calls.append(1) or (answer.wait(5) and server.Server()))
    watch = server.Watch()
    watch.ask()
    watch.ask()
    assert watch.latest is None
    answer.set()
    until(lambda: watch.latest)
    watch.ask(older_than_s=60)
    time.sleep(0.05)
    assert len(calls) == 1
    watch.ask()
    until(lambda: len(calls) == 2)


def test_every_error_has_its_own_sentence():
    kinds = (ServingUnavailable, ModelNotFound, Overloaded, DeadlineExceeded, InvalidInput, ServingFailed)
    sentences = {server.explain(error("x.")) for error in kinds}
    assert len(sentences) == len(kinds)
    assert all(sentence.endswith(".") and ". " not in sentence for sentence in sentences)
