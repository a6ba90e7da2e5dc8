"""The READMEs say what is true: their tables come from the code, their commands run, their links lead somewhere. So do
the examples in docstrings and the notebook.

`python -m tests.test_readme` writes the tables anew.
"""

import argparse
import doctest
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.message import Message
from nbclient import NotebookClient
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

import model.export
from model import limits
from model.contract import SIGNATURES, TensorInfo
from model.presets import OUR_OWN, PRESETS
from model.settings import GROUPS, PRESET, SETTINGS, format_value
from serving import StyleTransferClient
from serving.__main__ import main as command_line
from serving.command_line import single
from serving.server import flags
from tests.conftest import decoded, encode, smooth_picture
from tests.served import Served
from tests.small_model import small_network

ROOT = Path(__file__).parents[1]
FOLDERS = ("docker", "model", "serving", "tests", "ui")
PROSE = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PROSE}
SERVING = TEXTS["serving/README.md"]


def settings_table() -> str:
    rows = []
    for group in GROUPS:
        rows += [f"| {group} | default | expected | meaning |", "|---|---|---|---|"]
        for setting in (PRESET, *SETTINGS.values()):
            if setting.group == group:
                default = format_value(setting.default)
                unit = f", {setting.unit}" if setting.unit else ""
                expected = "layers, with weights" if setting.kind == "layers" else setting.expected + unit
                rows.append(f"| `{setting.name}` | {default} | {expected} | {setting.help} |")
        rows.append("")
    own = [
        f"`{name}`: {', '.join(f'{key} {value}' for key, value in PRESETS[name].items()) or 'the defaults above'}"
        for name in OUR_OWN
    ]
    others = [f"`{name}`" for name in PRESETS if name not in OUR_OWN]
    return "\n".join(rows) + (
        f"\nPresets: {'; '.join(own)}. {', '.join(others)} reproduce other systems, whose formulas and conversions are "
        "in [presets.py](presets.py)."
    )


def signatures_table() -> str:
    def side(tensors: tuple[TensorInfo, ...]) -> str:
        return ", ".join(f"`{tensor.name}`" for tensor in tensors)

    rows = ["| signature | takes | returns |", "|---|---|---|"]
    rows += [f"| `{name}` | {side(s.inputs)} | {side(s.outputs)} |" for name, s in SIGNATURES.items()]
    rows += ["", "| tensor | type | shape | meaning |", "|---|---|---|---|"]
    tensors = {t.name: t for s in SIGNATURES.values() for t in (*s.inputs, *s.outputs)}
    letters = dict.fromkeys(("style_bytes", "content_mask_bytes", "style_mask_bytes"), "[B, S]")
    letters["losses"] = "[B, N, 4]"
    rows += [f"| `{t.name}` | {t.dtype} | {letters.get(t.name, '[B]')} | {t.meaning} |" for t in tensors.values()]
    return "\n".join(rows)


def limits_table() -> str:
    rows = [
        ("long side of a result", f"{limits.MAX_SIZE_PX} pixels"),
        ("steps of a run", f"{limits.MAX_STEPS:,}"),
        ("styles for one content picture", limits.MAX_STYLES),
        ("a picture that is sent", f"{limits.MAX_INPUT_PX:,} pixels"),
        ("long side over short side", limits.MAX_RATIO),
    ]
    return "\n".join(["| what | at most |", "|---|---|", *(f"| {what} | {most} |" for what, most in rows)])


def command_line_table() -> str:
    parser = single.build_parser()
    formatter = parser._get_formatter()
    rows = ["| flag | meaning |", "|---|---|"]
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        if flag and action.dest not in ("help", PRESET.name, *SETTINGS):
            value = f" {action.metavar}" if action.metavar else ""
            rows.append(f"| `{flag}{value}` | {formatter._expand_help(action)} |")
    return "\n".join(rows)


def server_table() -> str:
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for action in flags.build_parser()._actions:
        if action.dest != "help":
            default = "" if action.default == argparse.SUPPRESS else str(action.default)
            default = default.lower() if isinstance(action.default, bool) else default
            rows.append(f"| `--{action.dest}` | {default} | {action.help} |")
    return "\n".join(rows)


TABLES = {
    "settings": settings_table,
    "signatures": signatures_table,
    "limits": limits_table,
    "command line": command_line_table,
    "server": server_table,
}
MARKED = re.compile(r"(?s)(<!-- ([\w ]+): written by `python -m tests.test_readme` -->\n).*?(<!-- end of \2 -->)")


def with_tables(text: str) -> str:
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


def blocks(language: str) -> list[str]:
    return [block for text in TEXTS.values() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def anchors(text: str) -> set[str]:
    """The addresses that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_tables_are_those_of_the_code_each_in_one_place() -> None:
    assert [name for name, text in TEXTS.items() if text != with_tables(text)] == []
    assert sorted(name for _, name, _ in MARKED.findall("".join(TEXTS.values()))) == sorted(TABLES)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text()), link


def test_targets_of_make_and_files_of_docker_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, text in TEXTS.items():
        for words in re.findall(r"(?:^|`|&& )make ([a-z -]+)", text, re.MULTILINE):
            assert set(words.split()) <= targets, (name, words)
    for file in re.findall(r"\bdocker/[\w.-]+(?:ile|aml)\b", "".join(blocks("console"))):
        assert (ROOT / file).exists(), file


def test_the_stops_of_a_picture_and_the_test_that_is_named_exist() -> None:
    text = TEXTS["CONTRIBUTING.md"]
    stops = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", text)
    assert len(stops) >= 12
    for path, name in stops:
        for part in name.split("."):
            begins = rf"^ *(?:async def|def|class) {part}\b"
            assert re.search(begins, (ROOT / path).read_text(), re.MULTILINE), (path, name)
    ((path, word),) = re.findall(r"pytest (\S+) -k (\w+)", text)
    assert re.search(rf"^def test_\w*{word}", (ROOT / path).read_text(), re.MULTILINE)


def test_every_environment_variable_is_explained() -> None:
    sources = [path.read_text() for folder in ("model", "serving", "ui") for path in (ROOT / folder).rglob("*.py")]
    read = {name for text in [*sources, (ROOT / "Makefile").read_text()] for name in re.findall(r"\bNST_[A-Z_]+", text)}
    rows = [row for text in TEXTS.values() for row in re.findall(r"(?m)^\| (`NST_.*?) \|", text)]
    assert sorted(re.findall(r"NST_[A-Z_]+", " ".join(rows))) == sorted(read - {"NST_TEST_SERVER", "NST_SOAK_S"})


def declarations(message: type[Message]) -> set[str]:
    """The fields of a message, each as a .proto file declares it."""
    official = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(official)
    entries = [nested for nested in official.nested_type if nested.options.map_entry]
    maps = {entry.name: entry.field[1].type_name.rpartition(".")[2] for entry in entries}
    found = set()
    for field in official.field:
        kind = field.type_name.rpartition(".")[2] or field.Type.Name(field.type).removeprefix("TYPE_").lower()
        many = "repeated " if field.label == field.LABEL_REPEATED else ""
        many, kind = ("", f"map<string, {maps[kind]}>") if kind in maps else (many, kind)
        found.add(f"{many}{kind} {field.name} = {field.number};")
    return found


def test_messages_for_other_languages_are_the_official_ones() -> None:
    messages = (predict_pb2.PredictRequest, predict_pb2.PredictResponse, model_pb2.ModelSpec, tensor_pb2.TensorProto)
    shape = tensor_shape_pb2.TensorShapeProto
    official = set().union(*map(declarations, (*messages, shape, shape.Dim)))
    official |= {f"{name} = {number};" for name, number in types_pb2.DataType.items()}
    declared = re.findall(r"(?m)^ +(\S.* = \d+;)", (ROOT / "serving" / "predict.proto").read_text())
    assert len(declared) == 17
    assert set(declared) <= official


def test_commands_that_load_a_model_or_write_one_have_flags_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.export, "load", lambda *_, **__: small_network())
    monkeypatch.setattr(model.export, "export", lambda *_: None)
    takers = {
        r"model\.export (.*)": model.export.main,
        r"serving\.server (.*)": flags.build_parser().parse_args,
        r"serving (.* --local .*)": single.build_parser().parse_args,
    }
    for pattern, take in takers.items():
        commands = re.findall(rf"python -m {pattern}", "".join([*blocks("console"), *blocks("bash")]))
        assert commands
        for command in commands:
            take(command.split())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present directory: pictures, packages and the environment are where the commands expect them."""
    for name, size in (("photo", (40, 56)), ("painting", (50, 40))):
        (tmp_path / f"{name}s").mkdir()
        for file in (f"{name}.jpg", f"{name}s/{name}.jpg"):
            (tmp_path / file).write_bytes(encode(smooth_picture(*size), "JPEG"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for package in ("model", "serving"):
        (tmp_path / package).symlink_to(ROOT / package)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def here(text: str, served: Served) -> str:
    """The text with this server's addresses, and with small pictures."""
    text = text.replace("grpc://localhost:8500", served.grpc).replace("http://localhost:8501", served.http)
    return text.replace("size=512", "size=64").replace("--size 512", "--size 64")


FEATURES = re.findall(r"^\| [^|]+ \| `(photo\.jpg [^`]+)` \|$", SERVING, re.MULTILINE)


@pytest.mark.parametrize("words", FEATURES)
def test_every_feature_has_a_command_that_runs(words: str, desk: Path, served: Served) -> None:
    for name in ("second.jpg", "start.jpg", "sky.png", "ground.png", "part.png"):
        (desk / name).write_bytes(encode(smooth_picture(24, 24, 5), "PNG" if name.endswith("png") else "JPEG"))
    small = ["--size", "48", "--steps", "4", "-o", "out.png", "--server", served.grpc, "--quiet"]
    assert command_line([*words.split(), *small]) == 0
    assert decoded((desk / "out.png").read_bytes()).shape == (34, 48, 3)


def test_the_features_table_names_every_setting() -> None:
    wanted = {f"--{name.replace('_', '-')}" for name in SETTINGS}
    shown = {word for words in FEATURES for word in words.split()}
    assert wanted <= shown | {"--size", "--steps", "--seed"}


ELSEWHERE = ("make ", ".venv/bin/python -m model.export")  # what the latter writes is tested there; its flags above
COMMANDS = sorted({b for b in blocks("bash") if not b.startswith(ELSEWHERE) and "--local" not in b})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda block: block[:60])
def test_commands_run(command: str, desk: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NST_SERVING_URL", served.grpc)
    done = subprocess.run(["bash", "-ec", here(command, served)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = next(path for path in ("out.png", "results/photo_painting.png", "preview.jpg") if (desk / path).exists())
    assert decoded((desk / made).read_bytes()).shape in {(46, 64, 3), (366, 512, 3)}


@pytest.mark.parametrize("code", blocks("python"), ids=["short", "in full"])
def test_python_runs(code: str, desk: Path, served: Served) -> None:
    subprocess.run([sys.executable, "-c", here(code, served)], check=True, capture_output=True)
    assert decoded((desk / "out.png").read_bytes()).shape == (46, 64, 3)


SOURCES = [path for folder in ("model", "serving", "ui") for path in sorted((ROOT / folder).rglob("*.py"))]
EXAMPLES = [
    example
    for path in SOURCES
    if ">>> " in path.read_text()
    for example in doctest.DocTestFinder().find(
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    )
    if example.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples_in_docstrings_run(example: doctest.DocTest, desk: Path, served: Served) -> None:
    (desk / "second.jpg").write_bytes((desk / "painting.jpg").read_bytes())
    report = io.StringIO()
    with StyleTransferClient(served.grpc) as client:
        names = {**example.globs, "client": client}
        example = doctest.DocTestParser().get_doctest(here(example.docstring, served), names, example.name, None, None)
        done = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.write)
    assert done.attempted
    assert not done.failed, report.getvalue()


def test_the_notebook_runs_and_is_kept_without_outputs(
    desk: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.reads(here((ROOT / "serving" / "stylize.ipynb").read_text(), served), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    (desk / "ui").symlink_to(ROOT / "ui")
    (desk / "notebooks").mkdir()
    monkeypatch.setenv("HOME", str(desk))  # where Jupyter keeps its history
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(desk / "notebooks")}}).execute()
    shown = [kind for cell in code for output in cell.outputs for kind in output.get("data", {})]
    assert (shown.count("image/jpeg"), shown.count("image/png")) == (4, 4)  # three PIL images as both; preview; result
    assert decoded((desk / "notebooks" / "out.png").read_bytes()).shape == (51, 64, 3)


if __name__ == "__main__":
    for name, text in TEXTS.items():
        (ROOT / name).write_text(with_tables(text))
