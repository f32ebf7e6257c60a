"""The databases of the services: one server for all in `dev`, a CloudNativePG cluster for each in `prod`, with the same roles and rights.

The rights are those of the local stack (deploy.local.postgres): the owner migrates, the writer works across tenants, the reader
answers callers and sees the rows of their tenant only.
"""

from typing import Final

from deploy.k8s.network import POSTGRES_PORT
from deploy.k8s.parts import PARTS, Part
from deploy.k8s.service_files import text
from deploy.k8s.workloads import Json
from deploy.local.postgres import GRANTS, OWNER, READER, WRITER

_OPERATOR_NAMESPACE: Final = "cnpg-system"
_STATUS_PORT: Final = 8000  # where the operator and the instances ask each other how they are
_RIGHTS: Final = {OWNER: "NOBYPASSRLS", WRITER: "BYPASSRLS", READER: "NOBYPASSRLS"}


def dev_script() -> str:
    """What psql runs in the empty server of `dev`: roles with the passwords of the environment, databases, rights."""
    lines = ["-- Made by `python -m deploy.k8s generate`: roles, databases and rights as on the local stack."]
    for role, rights in _RIGHTS.items():
        lines.append(f"\\getenv password {role.upper()}_PASSWORD")
        lines.append(f"CREATE ROLE {role} LOGIN {rights} PASSWORD :'password';")
    for part in PARTS:
        lines.append(f"CREATE DATABASE {part.name} OWNER {OWNER};")
        lines.append(f"\\connect {part.name}")
        lines.append(GRANTS.format(database=part.name).strip())
    return "\n".join(lines) + "\n"


def prod_clusters() -> str:
    """The clusters of `prod` with their policies; what an installation changes of them it changes by patches."""
    return text([it for part in PARTS for it in (_cluster(part), _policy(part))])


def _cluster(part: Part) -> Json:
    name = f"{part.name}-db"
    roles = [f"CREATE ROLE {role} LOGIN {_RIGHTS[role]}" for role in (WRITER, READER)]
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "instances": 3,
            "imageCatalogRef": {
                "apiGroup": "postgresql.cnpg.io",
                "kind": "ClusterImageCatalog",
                "name": "postgresql",
                "major": 18,
            },
            "inheritedMetadata": {"labels": {f"scrm.database/{part.name}": "true"}},
            "bootstrap": {
                "initdb": {
                    "database": part.name,
                    "owner": OWNER,
                    "secret": {"name": f"{name}-owner"},
                    "postInitSQL": roles,
                    "postInitApplicationSQL": [
                        it.strip() for it in GRANTS.format(database=part.name).split(";") if it.strip()
                    ],
                }
            },
            "managed": {
                "roles": [
                    {
                        "name": role,
                        "ensure": "present",
                        "login": True,
                        "bypassrls": _RIGHTS[role] == "BYPASSRLS",
                        "passwordSecret": {"name": f"{name}-{word}"},
                    }
                    for role, word in ((WRITER, "writer"), (READER, "reader"))
                ]
            },
            "postgresql": {
                # What is acknowledged is on two servers, so that a failover loses nothing.
                "synchronous": {"method": "any", "number": 1},
                "parameters": {"max_connections": "300", "timezone": "UTC", "log_timezone": "UTC"},
            },
            "storage": {"size": "50Gi"},
            "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        },
    }


def _policy(part: Part) -> Json:
    """From the service, from the other servers of the cluster and from the operator; to the other servers and the API."""
    selected = {"matchLabels": {f"scrm.database/{part.name}": "true"}}
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _OPERATOR_NAMESPACE}}}
    peers = {"podSelector": selected}
    service = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": part.name}}}
    both = [{"protocol": "TCP", "port": it} for it in (POSTGRES_PORT, _STATUS_PORT)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{part.name}-db"},
        "spec": {
            "podSelector": selected,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [service], "ports": both[:1]}, {"from": [peers, operator], "ports": both}],
            # The instance manager of CloudNativePG asks the API of Kubernetes, whose address differs from cluster to cluster.
            "egress": [
                {"to": [peers], "ports": both},
                {"ports": [{"protocol": "TCP", "port": it} for it in (443, 6443)]},
            ],
        },
    }
