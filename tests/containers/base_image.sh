#!/bin/sh
# Makes a base image like python:3.11-slim-bookworm from Debian's packages, for machines that cannot pull one.
# usage: base_image.sh NAME    needs root, mmdebstrap and a Docker engine; DOCKER names its client
set -eu
archive=$(mktemp --suffix=.tar)
trap 'rm -f "$archive"' EXIT
# Debian would choose usrmerge, and all of Perl with it, where usr-is-merged does.
mmdebstrap --quiet --variant=essential --include=usr-is-merged,libstdc++6,ca-certificates,python3,python3-venv \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --setup-hook='printf "Package: usrmerge\nPin: release *\nPin-Priority: -1\n" > "$1/etc/apt/preferences"' \
    --customize-hook='rm "$1/etc/apt/preferences"; rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*' \
    bookworm "$archive"
"${DOCKER:-docker}" import --change 'CMD ["python3"]' "$archive" "$1"
