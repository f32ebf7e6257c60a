#!/bin/sh
# Builds the images of the services and of the gateway with docker, podman or buildah, whichever is there: build.sh [version].
# OPTIONS of the environment are given to each build, such as --build-arg PYTHON=… where base images come from a mirror.
set -eu
cd "$(dirname "$0")/../.."
version=${1:-0.1.0}
ignored=deploy/images/Containerfile.dockerignore

for tool in docker podman buildah; do
    if command -v "$tool" >/dev/null 2>&1 && "$tool" info >/dev/null 2>&1; then
        case $tool in
            docker) build() { docker build "$@"; } ;;
            podman) build() { podman build --ignorefile "$ignored" "$@"; } ;;
            buildah) build() { buildah build --layers --ignorefile "$ignored" "$@"; } ;;
        esac
        for service in identity tracking tagging membership campaigns; do
            # shellcheck disable=SC2086 (several words)
            build -f deploy/images/Containerfile --target service --build-arg SERVICE="$service" \
                -t "scrm/$service:$version" ${OPTIONS-} .
        done
        # shellcheck disable=SC2086
        build -f deploy/images/Containerfile --target gateway -t "scrm/gateway:$version" ${OPTIONS-} .
        exit 0
    fi
done
echo "Images need docker, podman or buildah, and none of them works here (docker: does its daemon run?)." >&2
exit 1
