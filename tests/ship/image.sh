#!/usr/bin/env bash
# Builds the image and runs the life of an installation with it: every controller there is the image's own binary, started
# by the image's own user in a root folder that holds the image's files and nothing else. Needs buildah, and root for chroot.
set -euo pipefail
cd "$(dirname "$0")/../.."
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}

deploy/image.sh localhost/rolectl:ship
out=$(realpath "${CARGO_TARGET_DIR:-target}")/ship-image
rm -rf "$out"
mkdir -p "$out/files" "$out/pods"

container=$(buildah from --pull-never localhost/rolectl:ship)
trap 'buildah rm "$container" >/dev/null; rm -rf "$out/pods"' EXIT
cp -a "$(buildah mount "$container")/." "$out/files"
config() { buildah inspect --type image --format "$1" localhost/rolectl:ship; }
user=$(config '{{.OCIv1.Config.User}}')
entrypoint=$(config '{{index .OCIv1.Config.Entrypoint 0}}')
size=$(buildah images --format '{{.Size}}' localhost/rolectl:ship)
echo "== image: $size, user $user, entry point $entrypoint, $(find "$out/files" -type f | wc -l) files"
case $user in 0 | 0:* | root* | "") echo "the image runs as root" >&2; exit 1 ;; esac
if ldd "$out/files$entrypoint" 2>/dev/null | grep -q '=>'; then
  echo "the binary is not static" >&2
  exit 1
fi

cat > "$out/controller" <<END
#!/bin/sh
root=\$(mktemp -d -p '$out/pods')
chmod 755 "\$root"
cp -a '$out/files/.' "\$root"
install -m 444 "\$KUBECONFIG" "\$root/kubeconfig"
export KUBECONFIG=/kubeconfig
exec chroot --userspec='$user' "\$root" '$entrypoint' "\$@"
END
chmod 755 "$out/controller"
ROLECTL_TEST_CONTROLLER=$out/controller cargo test --package rolectl-tests --test ship -- installation
