"""What visitors take with them: pictures, the film of a run, all results as a zip, and a run to continue later."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from PIL import Image

from serving import results
from serving.pictures import prepare, with_transparency_of
from serving.request import Request
from serving.run_file import SavedRun, encode_run
from ui.components import saved
from ui.jobs import Job
from ui.visits import Result

# The formats of pictures by their names on the page, each with its suffix and MIME type.
FORMATS = {"PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WebP": (".webp", "image/webp")}
LONGEST_NAME, MOST_NAMES = 24, 3  # characters of a picture's name, and names of paintings, in the name of a file


def stem(request: Request, names: Mapping[str, str]) -> str:
    """Returns the name of a file without its suffix: `cat-eddies-512`; `names` are those of pictures, by digest."""
    return "-".join([*_parts(request, names), str(request.settings.size)])


def title(request: Request, names: Mapping[str, str]) -> str:
    """Returns the same for people: `Cat + Eddies, 512 px`."""
    parts = (part.replace("_", " ") for part in _parts(request, names))
    return f"{' + '.join(part[:1].upper() + part[1:] for part in parts)}, {request.settings.size} px"


def _parts(request: Request, names: Mapping[str, str]) -> list[str]:
    (content,), styles = request.sha256.get("content", ("",)), request.sha256.get("styles", ())
    return [_safe(names.get(content, "photo")), *(_safe(names.get(one, "style")) for one in styles[:MOST_NAMES])]


def _safe(name: str) -> str:
    """Returns a picture's name without the suffix, and without what a file system may refuse."""
    letters = "".join(c if c.isalnum() else "_" for c in PurePath(name).stem)
    return "_".join(filter(None, letters.split("_")))[:LONGEST_NAME] or "picture"


def mixed(result: Result, content_share: float) -> bytes:
    """Returns a result with this fraction of its photograph mixed in, as PNG."""
    if not content_share:
        return result.png
    content = result.request.content
    with Image.open(io.BytesIO(result.png)) as painted, Image.open(io.BytesIO(prepare(content, "content"))) as photo:
        blended = Image.blend(painted.convert("RGB"), photo.convert("RGB").resize(painted.size), content_share)
    return with_transparency_of(content, saved(blended, "PNG"))


def encode(result: Result, format_name: str, content_share: float = 0.0) -> bytes:
    """Returns a result as a file in one of FORMATS, with its origin embedded; for the share see `mixed`."""
    origin = replace(result.origin, content_share=content_share)
    return results.encode_result(mixed(result, content_share), FORMATS[format_name][0], origin)


def as_zip(kept: Sequence[Result], names: Mapping[str, str]) -> bytes:
    """Returns results as PNG files in a zip, oldest first; for `names` see `stem`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for one in reversed(kept):
            name, count = stem(one.request, names), 1
            while (file := f"{name}.png" if count == 1 else f"{name}-{count}.png") in archive.namelist():
                count += 1
            archive.writestr(file, encode(one, "PNG"))
    return out.getvalue()


def run_file(job: Job) -> bytes:
    """Returns a run that has ended early as a file, from which this page or the command line can continue it."""
    now = job.snapshot()
    origin = now.origin(job.request)
    request = replace(job.request, settings=origin.settings).prepared()
    return encode_run(SavedRun(request, origin.model["digest"], now.state, now.step, now.steps))
