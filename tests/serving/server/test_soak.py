"""64 clients at once for minutes: every accepted call is answered rightly, the others are told why, and nothing leaks.

Run by `make soak`; NST_SOAK_S sets how long. It prints the figures that the README records.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections import Counter

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.contract import GRPC_OPTIONS, MODEL_NAME
from tests import processes
from tests.conftest import encode, smooth_picture
from tests.served import Served

CLIENTS = 64
SOAK_S = float(os.environ.get("NST_SOAK_S") or 180)
WARM_UP_SHARE = 0.35  # of the time: caches fill and the allocator finds its size
GROWTH = 1.05
PAUSE_S = 0.2  # before a refused client asks again, at most
SETTINGS = b"size=24,smallest_size=16,steps=3"


class Load:
    """What the clients share: the request, the right answer, and what became of the calls."""

    def __init__(self, served: Served) -> None:
        self.served, self.over = served, threading.Event()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()
        self.content, self.style = encode(smooth_picture(20, 24)), encode(smooth_picture(24, 24, 1))
        self.right = b""

    def note(self, what: str, wrong: str = "") -> None:
        with self.lock:
            self.counts[what] += 1
            if wrong:
                self.wrong.append(wrong)

    def ask_by_grpc(self) -> None:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, "stylize"
        request.output_filter.append("image_bytes")
        inputs = {"content_bytes": [self.content], "style_bytes": [[self.style]], "settings": [SETTINGS]}
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array(value, object)))
        with grpc.insecure_channel(self.served.grpc.removeprefix("grpc://"), options=GRPC_OPTIONS) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.over.is_set():
                try:
                    (image,) = stub.Predict(request, timeout=120).outputs["image_bytes"].string_val
                except grpc.RpcError as error:
                    self.refused(error.code().name, error.details() or "")
                else:
                    self.answered(image)

    def ask_by_rest(self) -> None:
        def picture(data: bytes) -> dict[str, str]:
            return {"b64": base64.b64encode(data).decode()}

        inputs = {
            "content_bytes": [picture(self.content)],
            "style_bytes": [[picture(self.style)]],
            "settings": [SETTINGS.decode()],
        }
        body = {"signature_name": "stylize", "inputs": inputs}
        with requests.Session() as session:
            while not self.over.is_set():
                url = f"{self.served.http}/v1/models/{MODEL_NAME}:predict"
                response = session.post(url, json=body, timeout=120)
                if response.ok:
                    self.answered(base64.b64decode(response.json()["outputs"]["image_bytes"][0]["b64"]))
                else:
                    code = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}.get(response.status_code, "other")
                    self.refused(code, response.json()["error"])

    def answered(self, image: bytes) -> None:
        if not self.right:
            self.right = image
        self.note("answered", "" if image == self.right else "an answer with another picture")

    def refused(self, code: str, text: str) -> None:
        fine = code in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"} and text
        self.note("refused", "" if fine else f"{code}: {text}")
        time.sleep(random.uniform(0, PAUSE_S))  # noqa: S311


@pytest.mark.soak
def test_64_clients_at_once(served: Served) -> None:
    load = Load(served)
    asking = [threading.Thread(target=load.ask_by_rest if index % 2 else load.ask_by_grpc) for index in range(CLIENTS)]
    for thread in asking:
        thread.start()
    time.sleep(SOAK_S * WARM_UP_SHARE)
    pid = served.pid
    before = processes.memory_mb(pid), processes.threads(pid), processes.open_files(pid)
    time.sleep(SOAK_S * (1 - WARM_UP_SHARE))
    after = processes.memory_mb(pid), processes.threads(pid), processes.open_files(pid)
    load.over.set()
    for thread in asking:
        thread.join(120)
    print(f"\n{CLIENTS} clients, {SOAK_S:.0f} s: {load.counts['answered']} answered, {load.counts['refused']} refused")
    print(f"memory {before[0]:.0f} -> {after[0]:.0f} MB, threads {before[1]} -> {after[1]}", end=", ")
    print(f"files {before[2]} -> {after[2]}")
    assert load.wrong == []
    assert load.counts["answered"] > 0
    assert load.counts["refused"] > 0  # 64 are more than the queue holds
    assert after[0] < before[0] * GROWTH
    assert after[1] <= before[1]
    assert after[2] <= before[2] + 8  # connections that are just being made anew
