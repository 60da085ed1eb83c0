"""Debian's Orthanc with a configuration and a store of its own, driven over its REST interface."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.part10 import File, write
from tests.support.peers import environment, free_port, requires
from tests.support.sinks import wait_for

PATIENCE = 60.0
AE_TITLE = "ORTHANC"


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc."""

    dicom_port: int
    http_port: int
    folder: Path

    def get(self, path: str) -> Any:
        """What a GET of a resource answers, as JSON."""
        return json.loads(self._call("GET", path))

    def post(self, path: str, body: object = None) -> Any:
        """What a POST of JSON, or of the bytes of a file, answers."""
        return json.loads(
            self._call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
        )

    def put(self, path: str, body: object) -> None:
        """PUT something as JSON."""
        self._call("PUT", path, json.dumps(body).encode())

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        self._call("DELETE", path)

    def clear(self) -> None:
        """Forget every patient."""
        for patient in self.get("patients"):
            self._call("DELETE", f"patients/{patient}")

    def upload(self, path: Path) -> str:
        """Give it a file; return what Orthanc calls the instance."""
        return str(self.post("instances", path.read_bytes())["ID"])

    def files(self) -> dict[str, File]:
        """Every file that it holds, by SOP Instance UID."""
        kept = [self._file(instance) for instance in self.get("instances")]
        return {file.instance: file for file in kept}

    def _file(self, instance: str) -> File:
        content = self._call("GET", f"instances/{instance}/file")
        return File.read(write(self.folder / f"{instance}.dcm", content))

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bytes(answer.read())


@contextmanager
def orthanc(
    folder: Path, *, dicom_port: int | None = None, http_port: int | None = None, **more: object
) -> Iterator[Orthanc]:
    """Run an Orthanc until the end of the block; its files are in the folder.

    Args:
        folder: may be that of an Orthanc that ran before.
        dicom_port: a free one unless it is said.
        http_port: a free one unless it is said.
        **more: settings of Orthanc.
    """
    program = requires("Orthanc")
    running = Orthanc(
        dicom_port=dicom_port or free_port(), http_port=http_port or free_port(), folder=folder / "files"
    )
    settings = {
        "Name": "peer", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [],
        "HttpPort": running.http_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomPort": running.dicom_port, "DicomAet": AE_TITLE, "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True, "DicomAlwaysAllowEcho": True, "OverwriteInstances": True,
        "ConcurrentJobs": 2, "SaveJobs": False, "StableAge": 1, **more,
    }  # fmt: skip
    configuration = write(folder / "orthanc.json", json.dumps(settings).encode())
    log = folder / "orthanc.log"
    with log.open("wb") as said:
        process = subprocess.Popen([program, str(configuration)], env=environment(), stdout=said, stderr=said)
        try:
            wait_for(running.dicom_port)
            wait_for(running.http_port)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def finished(server: Orthanc, path: str, *, until: str = "Success") -> dict[str, Any]:
    """What a resource says once its Status is no longer pending."""
    deadline = time.monotonic() + PATIENCE
    while (said := server.get(path))["Status"] == "Pending":
        assert time.monotonic() < deadline, f"{path} is still pending"
        time.sleep(0.1)
    assert said["Status"] == until, said
    return dict(said)
