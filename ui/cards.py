"""The two cards of the page: which photograph, which painting."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ui import uploads
from ui.samples import CONTENTS, STYLES, Sample
from ui.uploads import BadPicture, Picture


@dataclass(frozen=True)
class Card:
    """One card.

    Attributes:
      key: prefix of its widgets' keys.
      title, sentence: what it asks for.
      icon: Material icon.
      samples: what there is to choose from without an upload; the first is chosen on a first visit.
    """

    key: str
    title: str
    sentence: str
    icon: str
    samples: tuple[Sample, ...]


CONTENT = Card("content", "Content", "The photograph that keeps its shapes", ":material/landscape:", CONTENTS)
STYLE = Card("style", "Style", "The painting that lends its look", ":material/palette:", STYLES)


def show(card: Card) -> Picture | None:
    """Draws a card and returns its picture, or None if the file that was brought cannot be used."""
    generation = f"{card.key}_generation"
    st.session_state.setdefault(generation, 0)
    sample_key, upload_key = f"{card.key}_sample", f"{card.key}_upload_{st.session_state[generation]}"
    st.session_state.setdefault(sample_key, card.samples[0].name)

    def choose_sample() -> None:
        # An uploader cannot be emptied, but under a new key it starts empty. A change to no sample is nobody's choice:
        # a browser that exchanges one upload for another may report the pills as they were a moment ago.
        if st.session_state[sample_key] is not None:
            st.session_state[generation] += 1

    def choose_upload() -> None:
        # No sample is lit while an upload is in use; one that is taken away again gives the first sample back.
        st.session_state[sample_key] = None if st.session_state[upload_key] is not None else card.samples[0].name

    with st.container(border=True, gap="small"):
        st.markdown(f"**{card.icon} {card.title}**  \n:small[{card.sentence}]")
        place = st.empty()
        labels = {sample.name: sample.label for sample in card.samples}
        st.pills(
            f"{card.title} samples",
            list(labels),
            format_func=labels.__getitem__,
            key=sample_key,
            on_change=choose_sample,
            label_visibility="collapsed",
            wrap=True,
        )
        upload = st.file_uploader(
            f"Your own {card.title.lower()} picture", type=list(uploads.TYPES), key=upload_key,
            on_change=choose_upload, label_visibility="collapsed",
        )  # fmt: skip
        picture = _uploaded(card, upload) if upload is not None else _sample(card, st.session_state[sample_key])
        if isinstance(picture, BadPicture):
            place.error(str(picture), icon=":material/broken_image:")
            return None
        place.image(picture.thumbnail, width="stretch", alt=picture.alt)
    return picture


def _sample(card: Card, name: str | None) -> Picture:
    chosen = next((sample for sample in card.samples if sample.name == name), card.samples[0])
    return uploads.sample(chosen)


def _uploaded(card: Card, upload: UploadedFile) -> Picture | BadPicture:
    """Returns an upload as a picture; made once, and kept in this session only."""
    key = f"{card.key}_picture"
    kept = st.session_state.get(key)
    if kept is None or kept[0] != upload.file_id:
        try:
            picture: Picture | BadPicture = uploads.load(
                upload.getvalue(), card.key, f"Your {card.title.lower()} picture, {upload.name}"
            )
        except BadPicture as error:
            picture = error
        kept = st.session_state[key] = (upload.file_id, picture)
    return kept[1]
