"""The content card: which photograph."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ui import uploads
from ui.samples import CONTENTS
from ui.uploads import BadPicture, Picture

SAMPLE, GENERATION, PICTURE = "content_sample", "content_generation", "content_picture"
FIRST = CONTENTS[0].name


def title(icon: str, name: str, sentence: str) -> None:
    """Draws the head of a card."""
    st.markdown(f"**{icon} {name}**  \n:small[{sentence}]")


def show() -> Picture | None:
    """Draws the card and returns its picture, or None if the file that was brought cannot be used."""
    st.session_state.setdefault(GENERATION, 0)
    st.session_state.setdefault(SAMPLE, FIRST)
    upload_key = f"content_upload_{st.session_state[GENERATION]}"

    def choose_sample() -> None:
        # An uploader cannot be emptied, but under a new key it starts empty. A change to no sample is nobody's choice:
        # a browser that exchanges one upload for another may report the pills as they were a moment ago.
        if st.session_state[SAMPLE] is not None:
            st.session_state[GENERATION] += 1

    def choose_upload() -> None:
        # No sample is lit while an upload is in use; one that is taken away again gives the first sample back.
        st.session_state[SAMPLE] = None if st.session_state[upload_key] is not None else FIRST

    with st.container(border=True, gap="small", height="stretch"):
        title(":material/landscape:", "Content", "The photograph that keeps its shapes")
        place = st.empty()
        labels = {sample.name: sample.label for sample in CONTENTS}
        st.pills(
            "Content samples", list(labels), format_func=labels.__getitem__, key=SAMPLE, on_change=choose_sample,
            label_visibility="collapsed", wrap=True,
        )  # fmt: skip
        upload = st.file_uploader(
            "Your own content picture", type=list(uploads.TYPES), key=upload_key, on_change=choose_upload,
            label_visibility="collapsed",
        )  # fmt: skip
        picture = _uploaded(upload) if upload is not None else _sample(st.session_state[SAMPLE])
        if isinstance(picture, BadPicture):
            place.error(str(picture), icon=":material/broken_image:")
            return None
        place.image(picture.thumbnail, width="stretch", alt=picture.alt)
    return picture


def _sample(name: str | None) -> Picture:
    return uploads.sample(next((sample for sample in CONTENTS if sample.name == name), CONTENTS[0]))


def _uploaded(upload: UploadedFile) -> Picture | BadPicture:
    """Returns an upload as a picture; made once, and kept in this session only."""
    kept = st.session_state.get(PICTURE)
    if kept is None or kept[0] != upload.file_id:
        try:
            picture: Picture | BadPicture = uploads.load(
                upload.getvalue(), "content", f"Your content picture, {upload.name}"
            )
        except BadPicture as error:
            picture = error
        kept = st.session_state[PICTURE] = (upload.file_id, picture)
    return kept[1]
