"""SOAP clients that nobody here wrote call each service by its published document: PHP, Node.js, gSOAP, zeep.

Messages are signed by a gateway of the caller's site (`tests.support.gateway`), as those of any other
program behind a node; PHP also makes the mutual TLS by itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from lxml import etree
from zeep.transports import Transport

from node.domain.ids import Digest
from tests.support import synthetic
from tests.support.doors import Door, acquaint, opened, served
from tests.support.gateway import Gateway, gateway
from tests.support.peers import environment, missing, requires, requires_file
from tests.support.wsi import broken

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
WSDL = ROOT / "wsdl"
DOCUMENTS = sorted(WSDL.glob("*.wsdl"))
UNKNOWN = "0" * 64
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class World:
    """Brno, served; Prague, whose clients call it by a gateway; and an instance at Brno."""

    brno: Door
    prague: Door
    gateway: Gateway
    digest: Digest
    content: bytes
    folder: Path

    def told(self, client: str, soap: str) -> dict[str, Any]:
        """What a client is told: where to call, and what to ask for."""
        number = 10 + sorted(SPEAKERS).index((client, soap))
        file = self.folder / f"{number}.dcm"
        file.write_bytes(synthetic.part10(synthetic.dataset(study=number)))
        return {
            "base": self.gateway.base,
            "soap": soap,
            "wsdl": str(WSDL),
            "digest": self.digest,
            "instance": synthetic.instance_uid(1, 1, 1),
            "unknown": UNKNOWN,
            "file": str(file),
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with served("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        digest = brno.admit(synthetic.instance())
        with brno.site.blobs.open(digest) as file:
            content = file.read()
        with gateway(prague, brno) as relay:
            yield World(
                brno=brno,
                prague=prague,
                gateway=relay,
                digest=digest,
                content=content,
                folder=tmp_path_factory.mktemp("clients"),
            )


def php(world: World, soap: str) -> list[str]:
    requires_php()
    return ["php", str(CLIENTS / "php" / "client.php"), json.dumps(world.told("php", soap))]


def php_with_tls(world: World, soap: str) -> list[str]:
    requires_php()
    key, door = world.prague.home.key(), world.brno
    told = world.told("php-tls", soap) | {
        "base": f"https://127.0.0.1:{door.port}",
        "sign": f"{world.gateway.base}/sign",
        "tls": {
            "certificate": str(key.certificate_file),
            "key": str(key.key_file),
            "fingerprint": door.home.key().fingerprint,
        },
    }
    return ["php", str(CLIENTS / "php" / "client.php"), json.dumps(told)]


def requires_php() -> None:
    requires("php")
    requires_file("usr/lib/php/*/soap.so")


def node_soap(world: World, soap: str) -> list[str]:
    install_node_soap()
    return ["node", str(CLIENTS / "node" / "client.js"), json.dumps(world.told("node", soap))]


def gsoap(world: World, soap: str) -> list[str]:
    told = world.told("gsoap", soap)
    program = compiled(world.folder / "gsoap")
    return [str(program), *(told[name] for name in ("base", "digest", "instance", "unknown", "file"))]


SPEAKERS: dict[tuple[str, str], Callable[[World, str], list[str]]] = {
    ("php", "1.1"): php,
    ("php", "1.2"): php,
    ("php-tls", "1.2"): php_with_tls,
    ("node", "1.1"): node_soap,
    ("node", "1.2"): node_soap,
    ("gsoap", "1.2"): gsoap,
    ("zeep", "1.1"): lambda *_: [],
    ("zeep", "1.2"): lambda *_: [],
}
"""Clients, and the versions of SOAP that they speak."""


def install_node_soap() -> None:
    """Install what package.json names, exactly as package-lock.json says."""
    requires("node")
    folder = CLIENTS / "node"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]["soap"]
    installed = folder / "node_modules" / "soap" / "package.json"

    def is_there() -> bool:
        return installed.exists() and json.loads(installed.read_text())["version"] == wanted

    if not is_there():
        words = [requires("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
        if not is_there():
            missing(f"soap from the npm registry (npm says: {done.stderr[-300:]})")


def compiled(folder: Path) -> Path:
    """Let gSOAP make a client of the documents, and compile it."""
    for tool in ("wsdl2h", "soapcpp2", "cc"):
        requires(tool)
    for header in ("usr/include/stdsoap2.h", "usr/include/stdio.h"):
        requires_file(header)
    folder.mkdir()
    run("wsdl2h", "-c", "-o", "services.h", *map(str, DOCUMENTS_FOR_GSOAP), folder=folder)
    run("soapcpp2", "-c", "-C", "-2", "-L", "-x", "-w", "services.h", folder=folder)
    sources = [str(CLIENTS / "gsoap" / "client.c"), "soapC.c", "soapClient.c"]
    run("cc", "-O0", "-I.", "-o", "client", *sources, "-lgsoap", folder=folder)
    return folder / "client"


DOCUMENTS_FOR_GSOAP = [WSDL / f"{name}-1.wsdl" for name in ("storage", "catalog", "federation", "recovery")]
"""In the order in which it numbers their namespaces."""


def run(*words: str, folder: Path | None = None) -> str:
    """Run a program to its good end; what it wrote."""
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def with_zeep(world: World, soap: str) -> list[dict[str, Any]]:
    """What zeep's own client, not ours, is answered."""
    told = world.told("zeep", soap)
    session = requests.Session()
    session.trust_env = False

    def service(name: str) -> Any:
        client = zeep.Client(str(WSDL / f"{name}-1.wsdl"), transport=Transport(session=session))
        binding = next(one for one in client.wsdl.bindings if f"Soap{soap.replace('.', '')}" in one)
        return client.create_service(binding, f"{told['base']}/soap/{name}/1")

    storage, catalog, federation, recovery = map(service, ("storage", "catalog", "federation", "recovery"))
    content = Path(told["file"]).read_bytes()
    calls: dict[str, Callable[[], Any]] = {
        "stat": lambda: storage.stat(digest=told["digest"]),
        "getObject": lambda: storage.getObject(digest=told["digest"]).hex(),
        "putObject": lambda: storage.putObject(content=content),
        "stat of nothing": lambda: storage.stat(digest=UNKNOWN),
        "queryMappings": lambda: catalog.queryMappings(instance=told["instance"]),
        "queryMappings of nothing": lambda: catalog.queryMappings(instance="1.2.3.4"),
        "members": federation.members,
        "metadata of nobody": lambda: federation.metadata(site="nowhere"),
        "status": recovery.status,
        "verifyReplicas": lambda: recovery.verifyReplicas(digest=[told["digest"]]),
        "repairReplica": lambda: recovery.repairReplica(digest=[told["digest"]]),
        "verifyReplicas of no digest": lambda: recovery.verifyReplicas(digest=["no digest"]),
    }
    return [heard_by_zeep(name, call) for name, call in calls.items()]


def heard_by_zeep(name: str, call: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"call": name, "answer": zeep.helpers.serialize_object(call(), dict)}
    except zeep.exceptions.Fault as fault:
        detail = fault.detail[0]
        text = {etree.QName(one).localname: one.text for one in detail}
        return {
            "call": name,
            "fault": {
                "family": etree.QName(detail).localname,
                "code": text["code"],
                "text": fault.message,
            },
        }


@pytest.fixture(scope="module", params=sorted(SPEAKERS), ids=" ".join)
def heard(request, world) -> dict[str, dict[str, Any]]:
    """What one client heard in one version of SOAP, by call."""
    client, soap = request.param
    if client == "zeep":
        told = with_zeep(world, soap)
    else:
        told = [json.loads(line) for line in run(*SPEAKERS[client, soap](world, soap)).splitlines()]
    assert len(told) == len(EVERY_CALL)
    return {one["call"]: one for one in told}


FAULTS = {
    "stat of nothing": ("UnknownInstance", "UnknownInstance"),
    "queryMappings of nothing": ("UnknownInstance", "UnknownInstance"),
    "metadata of nobody": ("UnknownName", "UnknownMember"),
    "verifyReplicas of no digest": ("MalformedRequest", "MalformedMessage"),
}
EVERY_CALL = {
    "stat",
    "getObject",
    "putObject",
    "queryMappings",
    "members",
    "status",
    "verifyReplicas",
    "repairReplica",
    *FAULTS,
}


def test_storage_is_called(heard, world):
    stat = heard["stat"]["answer"]
    assert (stat["digest"], int(stat["size"])) == (world.digest, len(world.content))
    assert stat["instance"] == synthetic.instance_uid(1, 1, 1)


def test_storage_gives_and_takes_bytes(heard, world):
    got = bytes.fromhex(heard["getObject"]["answer"])
    assert hashlib.sha256(got).hexdigest() == world.digest
    assert got == world.content
    assert heard["putObject"]["answer"]["outcome"] == "kept"


def test_the_catalog_is_called(heard, world):
    mappings = heard["queryMappings"]["answer"]
    assert {one["digest"] for one in mappings} == {world.digest}
    assert {(one["site"], one["state"]) for one in mappings} == {("brno", "held"), ("prague", "owed")}


def test_the_federation_is_called(heard):
    [member] = heard["members"]["answer"]
    assert (member["site"], member["standing"]) == ("prague", "active")


def test_recovery_is_called(heard, world):
    status = heard["status"]["answer"]
    assert status["site"] == "brno"
    assert int(status["head"]) > 0
    [mapping] = heard["verifyReplicas"]["answer"]
    assert (mapping["site"], mapping["state"]) == ("brno", "verified")
    assert heard["repairReplica"]["answer"] == [world.digest]


@pytest.mark.parametrize("call", FAULTS)
def test_each_service_answers_with_a_typed_fault(heard, call):
    family, code = FAULTS[call]
    fault = heard[call]["fault"]
    assert (fault["family"], fault["code"]) == (family, code)
    assert fault["text"]


def test_what_clients_put_was_archived_in_the_name_of_their_site(heard, world):
    assert heard["putObject"]["answer"]["outcome"] == "kept"
    sources = {source for (source,) in world.brno.rows("SELECT source FROM instance")}
    assert "node:prague@prague" in sources


@pytest.mark.parametrize("soap", ["1.1 and 1.2", "1.1"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_served_keeps_the_basic_profile(world, document, soap):
    name, _, version = document.stem.rpartition("-")
    with world.gateway.line() as line:
        only = "&soap=1.1" if soap == "1.1" else ""
        status, served = line.get(f"/soap/{name}/{version}?wsdl{only}")
    assert status == 200
    assert broken(served) == []
    assert f"https://127.0.0.1:{world.brno.port}/soap/{name}/{version}".encode() in served
    assert (b"Soap12Binding" in served) is (soap != "1.1")
