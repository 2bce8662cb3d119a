#!/usr/bin/env bash
# Builds the image from static binaries that cargo builds here: deploy/image.sh [TAG]
#
# Needs cargo, a C compiler for musl (musl-gcc), and buildah, podman or docker.
set -euo pipefail
cd "$(dirname "$0")/.."

arch=${ARCH:-$(uname -m)}
target=$arch-unknown-linux-musl
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
tag=${1:-rolectl:$version}
most=$((30 * 1024 * 1024))

if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
  rustup target add "$target"
fi
echo "== cargo: static binaries for $target"
env "CC_${target//-/_}=${CC:-musl-gcc}" cargo build --release --locked --target "$target" --package rolectl-controller --bin rolectl-controller
out=${CARGO_TARGET_DIR:-target}
context=$out/image
rm -rf "$context"
install -D "$out/$target/release/rolectl-controller" "$context/rolectl-controller"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$context/etc/ssl/certs/ca-certificates.crt"
size=$(stat -c %s "$context/rolectl-controller")
if [ "$size" -ge "$most" ]; then
  echo "the controller has $size bytes, and the image may have $most" >&2
  exit 1
fi

echo "== image: $tag, $((size / 1024 / 1024)) MiB"
# The stage `build` of the Dockerfile is replaced by the folder.
args=(--build-context "build=$context" --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  --file deploy/Dockerfile --tag "$tag")
if command -v buildah >/dev/null; then
  buildah build --isolation chroot "${args[@]}" "$context"
elif command -v podman >/dev/null; then
  podman build --isolation chroot "${args[@]}" "$context"
else
  docker buildx build --load "${args[@]}" "$context"
fi
