# Common tasks. `just` alone lists them.

default:
    @just --list

# The tour on real parts, and then a playground
demo *args:
    cargo demo {{args}}

# Everything, unit to end to end
test *args:
    cargo test {{args}}

# End-to-end tests whose names hold a word
e2e *words:
    cargo test --package rolectl-tests --test e2e -- {{words}}

# Chart, docs, alerts, and the life of an installation
ship *words:
    cargo test --package rolectl-tests --test ship -- {{words}}

# The image, and an installation that runs it (root, buildah, musl-gcc)
image:
    tests/ship/image.sh

# What CI looks at before it tests
lint:
    cargo fmt --all -- --check
    cargo fmt --manifest-path tests/aws-double/Cargo.toml -- --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo deny check bans licenses sources

# Writes crds/yaml and docs/reference from the code
generate:
    cargo crds
    cargo reference
    INSTA_UPDATE=always cargo test -p rolectl the_schema
    INSTA_UPDATE=always cargo test --test e2e the_reference_holds

# What a fleet costs, against a bare loop: just bench --roles 1000 --cases create,sweep
bench *args:
    cargo bench --bench fleet -- {{args}}

# The whole of CI
ci:
    .ci/run
