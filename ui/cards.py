"""The two cards: the photograph's and the paintings'. When several paintings are blended, each has a slider."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st
from PIL import Image, ImageOps
from streamlit.delta_generator import DeltaGenerator

from model.limits import MAX_STYLES
from model.settings import StyleSettings
from ui import components, panel, uploads, widgets, windows
from ui.samples import CONTENTS, STYLES, Sample
from ui.uploads import BadPicture, File, Picture, Share
from ui.visits import Style, Visit

ROW_PX = 66  # width of each painting in a blend
THUMBNAIL_PX, QUALITY = (160, 120), 80  # of the pictures to choose from, and of their JPEGs
NARROWEST_PERCENT = 10  # of a photo's width and height that must be left when it is cropped
LONGEST_NAME = 24  # characters shown of a file's name
FULL = f"You can blend up to {MAX_STYLES} styles. To add another, first press one to remove it."

# Keys of session_state: the samples to choose from, the switch between one style and several, errors about files.
CONTENT, STYLE, BLEND = "content_sample", "style_sample", "blend"
CONTENT_PROBLEM, STYLE_PROBLEM = "content_problem", "style_problem"

_BY_NAME = {sample.name: sample for sample in CONTENTS + STYLES}


def begin(visit: Visit) -> None:
    """Fills the cards when a page first shows a visit."""
    _set_content(visit, visit.content)
    _set_styles(visit, visit.styles)
    _set_sliders(visit.styles, visit.blend)


def choose(visit: Visit, content: str = "", styles: Sequence[str] = ()) -> None:
    """Puts the named samples on the cards; a card without a named sample stays as it is."""
    if content:
        _set_content(visit, uploads.sample(_BY_NAME[content]))
    if styles:
        _set_styles(visit, [Style.of(_BY_NAME[name]) for name in styles])


def reuse(visit: Visit, settings: StyleSettings) -> None:
    """Sets every knob to these settings, and the sliders too if the settings blend as many styles as the visit."""
    panel.use(settings)
    _set_sliders(visit.styles, settings.blend_weights)


def blend(visit: Visit) -> tuple[float, ...]:
    """Returns the weight of each style as its slider stands; empty if there is only one."""
    sliders = map(_slider, visit.styles) if len(visit.styles) > 1 else ()
    return tuple(float(widgets.value(slider, 1.0)) for slider in sliders)


def show_content(visit: Visit) -> None:
    """Draws the photograph's card."""
    with st.container(border=True, gap="small", height="stretch"):
        _head("Your photo", CONTENT_PROBLEM)
        st.image(visit.content.thumbnail, width="stretch", alt=visit.content.alt)
        _pictures(
            CONTENT, "Photos to try", _offered(CONTENTS),
            [visit.content.sample], lambda names: choose(visit, content=names[0]),
        )  # fmt: skip
        uploads.show("content", lambda files: _take_content(visit, files), listens=True, edit=partial(_edit, visit))
    if visit.content.settings:
        st.button(
            "Use the settings of this picture", key="reuse", icon=":material/tune:", width="stretch",
            help="This picture holds the settings that made it. Press to set every knob to them.",
            on_click=reuse, args=(visit, visit.content.settings),
        )  # fmt: skip


def show_styles(visit: Visit) -> None:
    """Draws the paintings' card, and reads the sliders."""
    with st.container(border=True, gap="small", height="stretch"):
        with _head("The style", STYLE_PROBLEM):
            st.toggle(
                "Blend", bool(widgets.first(BLEND)), width="content",
                help=f"Choose up to {MAX_STYLES} paintings, and how strongly each one shows in the result.",
                **widgets.keyed(BLEND, lambda: _blend_or_not(visit)),
            )  # fmt: skip
        if len(visit.styles) == 1:
            st.image(visit.styles[0].picture.thumbnail, width="stretch", alt=visit.styles[0].picture.alt)
        else:
            for style in visit.styles:
                _row(style)
        several = bool(widgets.value(BLEND))
        own = [style for style in visit.styles if several and not style.picture.sample]
        pictures = {_name(style): (style.plain_name, style.picture.thumbnail) for style in own}
        _pictures(
            STYLE, "Styles to try", _offered(STYLES) | pictures, list(map(_name, visit.styles)),
            lambda names: _use_selected(visit, names), several=several,
        )  # fmt: skip
        uploads.show("style", lambda files: _take_styles(visit, files), several=True)
    visit.blend = blend(visit)


def _offered(samples: Sequence[Sample]) -> dict[str, tuple[str, bytes]]:
    return {sample.name: (sample.label, uploads.sample(sample).thumbnail) for sample in samples}


def _pictures(
    key: str, label: str, pictures: Mapping[str, tuple[str, bytes]], chosen: Sequence[str],
    use: Callable[[Sequence[str]], None], *, several: bool = False,
) -> None:  # fmt: skip
    """Draws pictures, each with its name, label and `uploads.thumbnail`; `use` is called with the names chosen."""
    offered = [{"name": name, "label": words, "url": _cut(small)} for name, (words, small) in pictures.items()]
    components.element("picker")(
        key=key,
        data={"label": label, "pictures": offered, "chosen": list(chosen), "several": several},
        on_chosen_change=lambda: use(st.session_state[key]["chosen"]),
    )


@st.cache_data(scope="session", max_entries=2 * len(CONTENTS + STYLES), show_spinner=False)  # visitors' own, too
def _cut(thumbnail: bytes) -> str:
    """Returns a thumbnail without its margins, cut to THUMBNAIL_PX, as a data URL."""
    with Image.open(io.BytesIO(thumbnail)) as image:
        picture = image.crop(image.getbbox()).convert("RGB")
        return components.jpeg_url(ImageOps.fit(picture, THUMBNAIL_PX), QUALITY)


def _head(title: str, problem: str) -> DeltaGenerator:
    """Draws a card's title and what is wrong with the last file; returns the rest of the title's row."""
    row = st.container(horizontal=True, vertical_alignment="center", gap="xsmall")
    row.header(title, anchor=False)
    if st.session_state[problem]:
        st.error(st.session_state[problem], icon=":material/broken_image:")
    return row


def _row(style: Style) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.image(style.picture.thumbnail, width=ROW_PX, alt=style.picture.alt)
        begun, key = widgets.first(_slider(style), 1.0), widgets.key(_slider(style))
        st.slider(style.name, 0.0, 1.0, begun, step=0.05, key=key, width="stretch")


def _slider(style: Style) -> str:
    return f"blend_{style.number}"


def _name(style: Style) -> str:
    """Returns the name of a style among the pictures to choose from."""
    return style.picture.sample or f"file {style.number}"


def _set_content(visit: Visit, picture: Picture) -> None:
    visit.content = picture
    st.session_state[CONTENT_PROBLEM] = ""


def _set_styles(visit: Visit, chosen: Sequence[Style], problem: str = "") -> None:
    if len(chosen) > MAX_STYLES:
        chosen, problem = chosen[:MAX_STYLES], FULL
    visit.styles = tuple(chosen)
    st.session_state[STYLE_PROBLEM] = problem
    if len(chosen) > 1:
        widgets.put(BLEND, True)


def _set_sliders(styles: Sequence[Style], blend: Sequence[float]) -> None:
    """Sets the sliders to blend weights, or all to 1 if there are none; ignores weights of the wrong number."""
    weights = blend or (1.0,) * len(styles)
    if len(weights) == len(styles):
        for style, weight in zip(styles, weights, strict=True):
            widgets.put(_slider(style), weight / max(weights))


def _of_file(file: File) -> Style:
    picture = uploads.load(file.data, "style", f"Your painting, {file.name}", name=file.name)
    name = file.name if len(file.name) <= LONGEST_NAME else f"{file.name[: LONGEST_NAME - 1]}…"
    return Style(name, picture)


def _use_selected(visit: Visit, names: Sequence[str]) -> None:
    """Uses the chosen pictures as the styles; the last style cannot be removed."""
    kept = [style for style in visit.styles if _name(style) in names]
    added = [name for name in names if name not in map(_name, kept)]
    _set_styles(visit, [*kept, *(Style.of(_BY_NAME[name]) for name in added)] or visit.styles)


def _blend_or_not(visit: Visit) -> None:
    if not widgets.value(BLEND):
        _set_styles(visit, visit.styles[:1])


def _take_content(visit: Visit, files: Sequence[File]) -> None:
    file = files[-1]
    try:
        _set_content(visit, uploads.load(file.data, "content", f"Your photo, {file.name}", name=file.name))
    except BadPicture as error:
        st.session_state[CONTENT_PROBLEM] = str(error)  # and the photograph before it stays


def _edit(visit: Visit) -> None:
    """Draws the window in which the photograph can be cropped and rotated."""
    across = st.slider("From left to right", 0, 100, (0, 100), format="%d%%", key="crop_across")
    down = st.slider("From top to bottom", 0, 100, (0, 100), format="%d%%", key="crop_down")
    least = min(end - start for start, end in (across, down))
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Crop", key="crop", icon=":material/crop:", type="primary",
            disabled=least == 100 or least < NARROWEST_PERCENT, on_click=_crop, args=(visit, across, down),
        )  # fmt: skip
        st.button(
            "Rotate", key="turn", icon=":material/rotate_90_degrees_cw:",
            on_click=lambda: _set_content(visit, uploads.turned(visit.content)),
        )  # fmt: skip
    preview = uploads.crop_preview(visit.content, across, down)
    st.image(preview, width="stretch", alt="Your photo; dark: cut off")


def _crop(visit: Visit, across: Share, down: Share) -> None:
    _set_content(visit, uploads.cropped(visit.content, across, down))
    windows.close()


def _take_styles(visit: Visit, files: Sequence[File]) -> None:
    loaded: list[Style] = []
    problem = ""
    for file in files:
        try:
            loaded.append(_of_file(file))
        except BadPicture as error:
            problem = str(error)
    kept = visit.styles if widgets.value(BLEND) else ()
    _set_styles(visit, [*kept, *loaded] or visit.styles, problem)
