"""The configuration of the gateway: Envoy for native gRPC, gRPC-Web, REST-JSON and the edge, checking tokens, origins and rates.

`envoy_configuration` is the one template: here it is filled with loopback ports and files, on Kubernetes with names of services.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chassis.http_edge import READY
from deploy.local.contracts import grpc_services, streams
from deploy.local.credentials import AUDIENCE, ISSUER
from deploy.openapi.pages import TYPES

Json = dict[str, Any]

REQUEST_HEADERS: Final = (
    "authorization,content-type,x-grpc-web,x-user-agent,grpc-timeout,traceparent,tracestate,x-request-id,scrm-position"
)
RESPONSE_HEADERS: Final = "grpc-status,grpc-message,grpc-status-details-bin,x-request-id,scrm-position"
REST_PREFIX: Final = "/v1/"
CALLER_HEADER: Final = "x-scrm-caller"
MOST_CALLERS: Final = 10_000
LOGGED: Final = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "milliseconds": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}
EDGE: Final = "edge"
# What below /v1/ is no REST call of a service goes to the edge.
EDGE_PREFIXES: Final = (REST_PREFIX, "/beacon/", "/sourceConfig", "/wechat/", "/l/", "/q/", "/scrm.js")
REFLECTION_PREFIX: Final = "/grpc.reflection."
SERVICE_HEADER: Final = "scrm-service"
PAGES: Final = "/docs/"
PAGE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "max-age=300",
}
NO_FILTER: Final = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True, "config": {}}
LARGEST_PAGE_BYTES: Final = 4 * 1024 * 1024
STATUS_OF_HTTP: Final = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    413: 8,
    429: 8,
    503: 14,
    504: 4,
}  # HTTP status → google.rpc.Code
LONGEST_STREAM: Final = (
    "330s"  # a little more than services give one, so that it is they who end it and say where to go on
)
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024  # the limit of the services themselves


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the template is filled with: `backends` is service → (host, gRPC port), files are paths that Envoy can read.

    `edge` is where tracking takes what is not gRPC-shaped, such as the calls of SDKs: it knows its callers by keys of its own.
    `pages` is the folder that is served below /docs, to anybody; nothing is served there without. `tls` are the files of the
    certificate chain and its private key (PEM); without, connections are not encrypted. `access_log` gets a line of JSON for each
    request: neither who called nor what was asked for beyond the path.
    """

    listen: tuple[str, int]
    admin: tuple[str, int]
    backends: Mapping[str, tuple[str, int]]
    edge: tuple[str, int] | None = field(default=None, kw_only=True)
    descriptors: Path
    jwks: Path
    issuer: str = ISSUER
    audience: str = AUDIENCE
    pages: Path | None = None
    origins: Sequence[str] = ("http://localhost:3000", "http://127.0.0.1:3000")
    requests_per_second: int = 100_000
    requests_per_second_of_caller: int = 10_000
    tls: tuple[Path, Path] | None = None
    access_log: Path | None = None


def envoy_configuration(gateway: Gateway) -> Json:
    """The bootstrap configuration of Envoy (version 3 API), as JSON."""
    services = grpc_services([f"scrm.{name}." for name in gateway.backends], gateway.descriptors)
    manager = {
        "stat_prefix": "public",
        "codec_type": "AUTO",
        "generate_request_id": True,
        "normalize_path": True,
        "request_headers_timeout": "10s",
        "route_config": {
            "name": "api",
            "virtual_hosts": [_virtual_host(gateway)],
            "max_direct_response_body_size_bytes": LARGEST_PAGE_BYTES,
        },
        "http_filters": [
            _filter("cors", "cors.v3.Cors"),
            # Before jwt_authn, so that a browser gets a gRPC status for a refusal.
            _filter("grpc_web", "grpc_web.v3.GrpcWeb"),
            _filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", _jwt(gateway)),
            _filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", _rate_limit(gateway)),
            _filter(
                "grpc_json_transcoder",
                "grpc_json_transcoder.v3.GrpcJsonTranscoder",
                _transcoder(gateway, services),
            ),
            _filter("router", "router.v3.Router"),
        ],
        "local_reply_config": {"mappers": [_rest_answer(*it) for it in STATUS_OF_HTTP.items()]},
        **({"access_log": [_access_log(gateway.access_log)]} if gateway.access_log else {}),
    }
    return {
        "admin": {"address": _address(*gateway.admin)},
        "static_resources": {
            "listeners": [
                {
                    "name": "public",
                    "address": _address(*gateway.listen),
                    "per_connection_buffer_limit_bytes": MAX_REQUEST_BYTES,
                    "filter_chains": [
                        {
                            **({"transport_socket": _tls(*gateway.tls)} if gateway.tls else {}),
                            "filters": [
                                {
                                    "name": "http",
                                    "typed_config": {
                                        "@type": "type.googleapis.com/envoy.extensions.filters.network"
                                        ".http_connection_manager.v3.HttpConnectionManager",
                                        **manager,
                                    },
                                }
                            ],
                        }
                    ],
                }
            ],
            "clusters": [
                *(_cluster(name, host, port) for name, (host, port) in gateway.backends.items()),
                *([_edge_cluster(*gateway.edge)] if gateway.edge else []),
            ],
        },
    }


def _virtual_host(gateway: Gateway) -> Json:
    routes: list[Json] = [*_pages(gateway.pages)] if gateway.pages else []
    routes += [
        {
            "match": {"path": path},
            "route": {
                "cluster": name,
                "timeout": "0s",  # of the whole answer
                "max_stream_duration": {
                    "max_stream_duration": LONGEST_STREAM,
                    "grpc_timeout_header_max": LONGEST_STREAM,
                },
            },
        }
        for name in gateway.backends
        for path in streams(f"scrm.{name}.", gateway.descriptors)
    ]
    routes += [
        {
            "match": {"prefix": f"/scrm.{name}."},
            "route": {
                "cluster": name,
                "timeout": "30s",
                "max_stream_duration": {"grpc_timeout_header_max": "60s"},
            },
        }
        for name in gateway.backends
    ]
    # Servers know only themselves, so who asks for contracts by reflection says by a header whose.
    routes += [
        {
            "match": {
                "prefix": REFLECTION_PREFIX,
                "headers": [{"name": SERVICE_HEADER, "string_match": {"exact": name}}],
            },
            "route": {"cluster": name, "timeout": "30s"},
        }
        for name in gateway.backends
    ]
    # A REST path finds its service when the transcoder has rewritten it to a gRPC path and the route is chosen again; it refuses
    # what it does not know. There must be a cluster all the same: without, preflights are not answered.
    routes += [{"match": {"prefix": f"{REST_PREFIX}{name}"}, "route": {"cluster": name}} for name in gateway.backends]
    if gateway.edge:
        routes += [
            {
                "match": {"prefix": prefix},
                "route": {"cluster": EDGE, "timeout": "30s"},
                "typed_per_filter_config": {"grpc_json_transcoder": NO_FILTER, "cors": NO_FILTER},
            }
            for prefix in EDGE_PREFIXES
        ]
    routes.append({"match": {"prefix": REST_PREFIX}, "route": {"cluster": next(iter(gateway.backends))}})
    cors = {
        "allow_origin_string_match": [{"exact": origin} for origin in gateway.origins],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "allow_headers": REQUEST_HEADERS,
        "expose_headers": RESPONSE_HEADERS,
        "max_age": "7200",
    }
    return {
        "name": "api",
        "domains": ["*"],
        "typed_per_filter_config": {"cors": _typed("cors.v3.CorsPolicy", cors)},
        "routes": routes,
    }


def _pages(folder: Path) -> Iterator[Json]:
    """The files of the folder, served by Envoy itself; the folder stands for its index."""
    yield {
        "match": {"path": PAGES.rstrip("/")},
        "redirect": {"path_redirect": PAGES},
        "typed_per_filter_config": {"grpc_json_transcoder": NO_FILTER},
    }
    for file in sorted(folder.iterdir()):
        name = "" if file.name == "index.html" else file.name
        headers = {**PAGE_HEADERS, "content-type": TYPES[file.suffix]}
        yield {
            "match": {"path": f"{PAGES}{name}"},
            "direct_response": {"status": 200, "body": {"filename": str(file)}},
            "typed_per_filter_config": {"grpc_json_transcoder": NO_FILTER},  # it refuses paths that are no call
            "response_headers_to_add": [
                {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for key, value in headers.items()
            ],
        }


def _jwt(gateway: Gateway) -> Json:
    provider = {
        "issuer": gateway.issuer,
        "audiences": [gateway.audience],
        "local_jwks": {"filename": str(gateway.jwks)},
        "claim_to_headers": [{"header_name": CALLER_HEADER, "claim_name": "sub"}],
        "forward": True,  # a service verifies the token again: nobody is trusted for where a call comes from
    }
    needed = {"provider_name": "callers"}
    return {
        "providers": {"callers": provider},
        "rules": [
            {"match": {"path": PAGES.rstrip("/")}},
            {"match": {"prefix": PAGES}},
            *({"match": {"prefix": f"{REST_PREFIX}{name}"}, "requires": needed} for name in gateway.backends),
            *({"match": {"prefix": prefix}} for prefix in (EDGE_PREFIXES if gateway.edge else ())),
            {"match": {"prefix": "/"}, "requires": needed},
        ],
        "bypass_cors_preflight": True,
    }


def _rate_limit(gateway: Gateway) -> Json:
    always = {"default_value": {"numerator": 100}}
    return {
        "stat_prefix": "public",
        "token_bucket": _bucket(gateway.requests_per_second),
        # A caller is who the token says; each has a bucket of its own, made when the caller is first seen.
        "rate_limits": [{"actions": [{"request_headers": {"header_name": CALLER_HEADER, "descriptor_key": "caller"}}]}],
        "descriptors": [
            {"entries": [{"key": "caller"}], "token_bucket": _bucket(gateway.requests_per_second_of_caller)}
        ],
        "max_dynamic_descriptors": MOST_CALLERS,
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limited_as_resource_exhausted": True,  # UNAVAILABLE would be retried
    }


def _bucket(per_second: int) -> Json:
    return {"max_tokens": per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _tls(certificate: Path, key: Path) -> Json:
    chain = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
    return {
        "name": "tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [chain],
            },
        },
    }


def _access_log(path: Path) -> Json:
    return {
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": LOGGED},
        },
    }


def _transcoder(gateway: Gateway, services: Sequence[str]) -> Json:
    return {
        "proto_descriptor": str(gateway.descriptors),
        "services": list(services),
        "convert_grpc_status": True,
        "request_validation_options": {"reject_unknown_method": True},
        "print_options": {"preserve_proto_field_names": False},
    }


def _rest_answer(http_status: int, code: int) -> Json:
    """An answer of Envoy itself to a REST call, such as for a refused token, in the shape of google.rpc.Status."""
    is_grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    is_rest = {"header": {**is_grpc, "invert_match": True, "treat_missing_header_as_empty": True}}
    has_status = {"op": "EQ", "value": {"default_value": http_status, "runtime_key": f"answer_{http_status}"}}
    return {
        "filter": {
            "and_filter": {"filters": [{"header_filter": is_rest}, {"status_code_filter": {"comparison": has_status}}]}
        },
        "body_format_override": {"json_format": {"code": code, "message": "%LOCAL_REPLY_BODY%"}},
    }


def _cluster(name: str, host: str, port: int) -> Json:
    http2: Json = {"explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                **http2,
            }
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
    }


def _edge_cluster(host: str, port: int) -> Json:
    return {
        "name": EDGE,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": READY},
            }
        ],
        "load_assignment": {
            "cluster_name": EDGE,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
    }


def _filter(name: str, type_name: str, settings: Json | None = None) -> Json:
    return {"name": name, "typed_config": _typed(type_name, settings or {})}


def _typed(type_name: str, settings: Json) -> Json:
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{type_name}", **settings}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
