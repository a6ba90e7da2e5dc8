"""Whatever a request names, the server opens no file and calls nobody: bytes come in requests, or not at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from pathlib import Path
from urllib.parse import quote, urlsplit

import grpc
from tensorflow.core.protobuf import saved_model_pb2

from tests.served import ROOT
from tests.serving.server.conftest import CALL_S, Client
from tests.watching import witness


def ask_over_grpc(zoo: Client, name: str) -> None:
    requests = [zoo.request("measure", x=name), zoo.request("measure", outputs=(name,), x=name)]
    for field in ("name", "version_label", "signature_name"):
        requests.append(zoo.request("measure", x=name))
        setattr(requests[-1].model_spec, field, name)
    calls = [lambda request=request: zoo.predict(request) for request in requests]
    calls += [lambda: zoo.metadata({"name": "zoo"}, name), lambda: zoo.status({"name": name})]
    for call in calls:
        with contextlib.suppress(grpc.RpcError):
            call()


def ask_over_rest(zoo: Client, name: str) -> None:
    body = json.dumps({"signature_name": "measure", "inputs": name})
    parts = quote(name), quote(name, safe=""), quote(name, safe="").replace(".", "%2e")
    starts = "/v1/models/", "/v1/", "/", "//", "/v1/models/zoo/", "/v1/models/zoo/versions/", "/v1/models/zoo/labels/"
    with contextlib.closing(http.client.HTTPConnection(urlsplit(zoo.url).netloc, timeout=CALL_S)) as connection:
        for path in ("/v1/models/zoo", *(start + part for start in starts for part in parts)):
            for method, tail in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
                connection.request(method, path + tail, body)  # which sends a path as it is
                connection.getresponse().read()


def test_no_name_in_a_request_is_followed(zoo: Client, model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    file = tmp_path / "canary" / "1.png"
    file.write_bytes(b"a picture")
    relative = [os.path.relpath(file, start) for start in (ROOT, model_dir / "zoo")]
    with witness(file) as canary:
        # All its names, as a program in the server's place would understand them.
        for name in (str(file), file.as_uri(), *relative, f"{relative[0]}\0.png", canary.url):
            ask_over_grpc(zoo, name)
            ask_over_rest(zoo, name)
        assert canary.saw() == set()


def test_exported_graph_has_no_operation_that_reads_files_or_calls_out(small_model: Path) -> None:
    saved = saved_model_pb2.SavedModel.FromString((small_model / "1" / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    reaching_out = ("File", "Reader", "Record", "Dataset", "PyFunc", "Rpc", "Remote", "Send", "Recv")
    own = {"MergeV2Checkpoints", "ShardedFilename"}  # the loader's, which no signature reaches
    assert {node.op for node in nodes if any(word in node.op for word in reaching_out)} <= own
