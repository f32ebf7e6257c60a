"""Every process is told what it reads and nothing else, and the settings of its service accept it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.k8s.parts import MIGRATE, PARTS
from deploy.k8s.workloads import SECRETS_FOLDER
from tests.k8s import code
from tests.k8s.cluster import NAMES, Json, kinds, objects, variables, workload

OWNER = "SCRM_OWNER_DATABASE_URL"
ROLES = [(part.name, role.name) for part in PARTS for role in part.roles]


def complaints(found: list[Json], folder: Path) -> Iterator[str]:
    """What is wrong with the environments of the services."""
    for part in PARTS:
        read = code.variables_read(part.name, folder)
        optional = code.tracing_variables(part.name)
        for role in part.roles:
            name = f"{part.name}-{role.name}"
            pod = workload(found, name)["spec"]["template"]["spec"]
            told = variables(pod["containers"][0], found)
            addresses = {f"SCRM_{it.upper()}_ADDRESS" for it in code.calls(part.name).get(role.name, ())}
            wanted = (read - {OWNER}) | addresses
            yield from (f"{name} is not told {it}" for it in sorted(wanted - told.keys()))
            yield from (f"{name} does not read {it}" for it in sorted(told.keys() - wanted - optional))
            gate = variables(pod["initContainers"][0], found)
            yield from (f"the gate of {name} does not read {it}" for it in gate.keys() - {"SCRM_DATABASE_URL"})
        migration = workload(found, f"{part.name}-{MIGRATE}")["spec"]["template"]["spec"]["containers"][0]
        if variables(migration, found).keys() != {"SCRM_DATABASE_URL", OWNER}:
            yield f"{part.name}-{MIGRATE} is told something else than its databases"


@pytest.mark.parametrize("name", NAMES)
def test_every_process_is_told_what_it_reads_and_nothing_else(name: str, tmp_path: Path) -> None:
    assert list(complaints(objects(name), tmp_path)) == []


def test_a_missing_a_needless_and_a_foreign_variable_are_noticed(tmp_path: Path) -> None:
    found = objects("prod")
    container = workload(found, "membership-serve")["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [it for it in container["env"] if it["name"] != "SCRM_RECEIPT_KEY"]
    container["env"].append({"name": OWNER, "value": "x"})
    container["env"].append({"name": "SCRM_TAGGING_ADDRESS", "value": "x"})

    assert list(complaints(found, tmp_path)) == [
        "membership-serve is not told SCRM_RECEIPT_KEY",
        f"membership-serve does not read {OWNER}",
        "membership-serve does not read SCRM_TAGGING_ADDRESS",
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("part", "role"), ROLES)
def test_the_settings_of_the_service_accept_what_the_process_is_told(
    name: str, part: str, role: str, tmp_path: Path
) -> None:
    found = objects(name)
    pod = workload(found, f"{part}-{role}")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    told = variables(container, found)

    for variable, value in told.items():
        if value.startswith(SECRETS_FOLDER):
            folder, _, _ = value.rpartition("/")
            assert folder in {it["mountPath"] for it in container["volumeMounts"]}
            told[variable] = code.needed(tmp_path)["SCRM_IDENTITY_KEYS"]

    code.SETTINGS[part](told)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_shards_as_there_may_be_processes_that_consume(name: str) -> None:
    found = objects(name)
    scaled = {it["spec"]["scaleTargetRef"]["name"]: it["spec"] for it in kinds(found, "ScaledObject")}
    for part in PARTS:
        consuming = workload(found, f"{part.name}-consume")["spec"]
        most = consuming["replicas"] if "replicas" in consuming else scaled[f"{part.name}-consume"]["maxReplicaCount"]
        for role in part.roles:
            container = workload(found, f"{part.name}-{role.name}")["spec"]["template"]["spec"]["containers"][0]
            assert int(variables(container, found)["SCRM_SHARD_COUNT"]) == most


def test_which_services_a_role_calls_is_read_from_the_code() -> None:
    assert code.calls("tracking") == {"serve": {"identity"}, "resolve": {"identity"}}
    assert code.calls("identity") == {"serve": {"tracking", "tagging", "membership", "campaigns"}}
    assert code.calls_in(
        "x",
        "def near(kit): return kit.channel('a')\n"
        "def far(kit): return near(kit)\n"
        "Service(servicers=lambda kit: [far(kit)], loops={'x': near, 'y': None})",
    ) == {"serve": {"a"}, "x": {"a"}}
