#!/bin/sh
# Makes the base images of the Containerfile out of Debian's packages and of the wheel of Envoy, where no registry of images can be
# reached: bases.sh <Python of .venv>. Needs mmdebstrap, podman or buildah, and root; the images have the names that are asked for.
set -eu
cd "$(dirname "$0")"
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Python where the official image has it, and pip of its own: Debian's cannot be uninstalled by pip.
mmdebstrap --variant=minbase --include=python3,python3-pip-whl,ca-certificates,tzdata --customize-hook='chroot "$1" sh -euc "
    cd /usr/local
    for wheel in /usr/share/python-wheels/*.whl; do python3 -m zipfile -e \$wheel lib/python3.11/dist-packages; done
    printf \"#!/usr/bin/python3\nfrom pip._internal.cli.main import main\nraise SystemExit(main())\n\" > bin/pip
    chmod 0755 bin/pip
    ln -s /usr/bin/python3 bin/python
    rm /usr/lib/python3.11/EXTERNALLY-MANAGED
    dpkg --purge python3-pip-whl
"' bookworm "$folder/debian.tar"
cp "$("$python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")')" "$folder/envoy"

tool=$(command -v podman || command -v buildah)
sed -n 's/^ARG \([A-Z]*\)=\(.*\/.*\)$/\1 \2/p' Containerfile | while read -r stage name; do
    "$tool" build -f Containerfile.bases --target "$(echo "$stage" | tr '[:upper:]' '[:lower:]')" -t "$name" "$folder"
done
