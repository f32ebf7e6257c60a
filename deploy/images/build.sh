#!/bin/sh
# Builds the images of the services and of the gateway with docker, podman or buildah, whichever is there: build.sh [version].
set -eu
cd "$(dirname "$0")/../.."
version=${1:-0.1.0}
ignored=deploy/images/Containerfile.dockerignore

for tool in docker podman buildah; do
    if command -v "$tool" >/dev/null 2>&1 && "$tool" info >/dev/null 2>&1; then
        case $tool in
            docker) build() { docker build "$@"; } ;;
            podman) build() { podman build --ignorefile "$ignored" "$@"; } ;;
            buildah) build() { buildah build --ignorefile "$ignored" "$@"; } ;;
        esac
        for service in identity tracking tagging membership campaigns; do
            build -f deploy/images/Containerfile --target service --build-arg SERVICE="$service" -t "scrm/$service:$version" .
        done
        build -f deploy/images/Containerfile --target gateway -t "scrm/gateway:$version" .
        exit 0
    fi
done
echo "Images need docker, podman or buildah, and none of them works here (docker: does its daemon run?)." >&2
exit 1
