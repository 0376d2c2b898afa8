#!/usr/bin/env bash
# Runs every test. Needs Rust, and the programs of PostgreSQL and Redis, which root on Debian
# gets installed; the tests start servers of their own and stop only those.
#
#   ./test.sh          minutes
#   ./test.sh --long   ten times the random cases, a minute of each fuzz target, and the
#                      sanitizers; needs the nightly toolchain and cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")"

long=
case "${1-}" in
    '') ;;
    --long) long=1 ;;
    *)
        echo "usage: ./test.sh [--long]" >&2
        exit 2
        ;;
esac

target=${CARGO_TARGET_DIR:-target}
# With debug information the test programs are gigabytes; their names stay in.
export CARGO_PROFILE_DEV_DEBUG="${CARGO_PROFILE_DEV_DEBUG:-0}" CARGO_PROFILE_DEV_STRIP="${CARGO_PROFILE_DEV_STRIP:-debuginfo}"
host=x86_64-unknown-linux-gnu
started=$SECONDS
step="start"
trap '[ $? = 0 ] || printf "\ntest.sh: failed: %s\n" "$step" >&2' EXIT

fail() {
    printf '\ntest.sh: %s\n' "$1" >&2
    exit 1
}

# step NAME COMMAND...
step() {
    local begun=$SECONDS
    step=$1
    shift
    printf '\n==> %s\n' "$step"
    # Not behind `||`, where the shell would go on after a failure.
    "$@"
    printf '    %s: ok, %d s\n' "$step" $((SECONDS - begun))
}

# Its server programs, wherever they are; the tests say which they miss.
has_postgresql() {
    local directory
    for directory in "${TENFOLD_PG_BIN-}" ${PATH//:/ } /usr/lib/postgresql/*/bin; do
        [ -x "$directory/initdb" ] && [ -x "$directory/pg_waldump" ] && return 0
    done
    return 1
}

postgresql() {
    has_postgresql && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "PostgreSQL is missing: install the Debian package \`postgresql\`, or say in TENFOLD_PG_BIN where its programs are"
    fi
    # The package would make and start a server that nobody here needs.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold postgresql
    has_postgresql || fail "the package \`postgresql\` was installed, and its programs are not in /usr/lib/postgresql"
}

redis_server() {
    command -v redis-server >/dev/null && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "Redis is missing: install the Debian package \`redis-server\`"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # The package would start a server that nobody here needs.
    RUNLEVEL=1 apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold redis-server
    command -v redis-server >/dev/null || fail "the package \`redis-server\` was installed, and there is no \`redis-server\` in PATH"
}

# The default features and sessions are all that has models: what adapts them to servers and frameworks takes minutes to
# compile, and has none.
models() (
    export CARGO_TARGET_DIR="$target/shuttle" RUSTFLAGS="${RUSTFLAGS-} --cfg tenfold_shuttle"
    local declared listed missing
    declared=$(grep -rA1 'cfg(all(test, tenfold_shuttle))' src | sed -nE 's#^src/(.*)\.rs-mod ([a-z_]*models)\b.*#\1::\2#p' |
        sed 's#/mod::#::#; s#/#::#g' | sort)
    [ -n "$declared" ] || fail "no model was found in src/"
    listed=$(cargo test --lib --features session models -- --list | sed -nE 's/^(.*models)::.*: test$/\1/p' | sort -u)
    missing=$(comm -23 <(echo "$declared") <(echo "$listed") | paste -sd' ')
    [ -z "$missing" ] || fail "models that would not run; do they need a feature that is not compiled here? $missing"
    local round rounds=1
    [ -z "$long" ] || rounds=10
    for round in $(seq "$rounds"); do
        # Each round draws schedules of its own.
        echo "round $round of $rounds"
        cargo test --lib --features session models
    done
)

stress() {
    [ -e examples/cache_stress.rs ] || fail "examples/cache_stress.rs is missing"
    cargo run --quiet --release --all-features --example cache_stress
}

# Its simulated days are long: with an optimizer.
example_tests() {
    cargo test --release --all-features --example million
}

fuzz() {
    local seconds=$1 path name found
    [ -d fuzz/fuzz_targets ] || fail "fuzz/fuzz_targets is missing"
    found=$(mktemp -d)
    for path in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$path" .rs)
        mkdir -p "$found/$name" "fuzz/corpus/$name"
        # What is found on the way goes elsewhere: the kept corpus is chosen by hand.
        cargo +nightly fuzz run "$name" "$found/$name" "fuzz/corpus/$name" -- \
            -max_total_time="$seconds" -timeout=60 -print_final_stats=1 ||
            { echo "the failing input is in fuzz/artifacts/$name" >&2; return 1; }
    done
    rm -r "$found"
}

# Looks for wrong memory, not for rare orders of events: the ordinary number of cases.
address_sanitizer() (
    unset PROPTEST_CASES TENFOLD_SEEDS
    export CARGO_TARGET_DIR="$target/address" RUSTFLAGS="-Zsanitizer=address"
    export LSAN_OPTIONS="suppressions=$PWD/.ci/leaks:print_suppressions=0"
    # Memory that cannot be had is an error of ours, and tested; SQLite's C has globals of one name.
    export ASAN_OPTIONS="allocator_may_return_null=1:detect_odr_violation=0"
    # What they measure is the sanitizer's memory too.
    cargo +nightly test --target "$host" --all-features --no-fail-fast --lib --tests -- \
        --skip pending_messages_cost --skip a_step_in_a_process_of_its_own
)

# On a program over parking_lot: libtest and std's mutex give false reports.
thread_sanitizer() (
    export CARGO_TARGET_DIR="$target/thread"
    export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
    export TSAN_OPTIONS="suppressions=$PWD/.ci/races"
    cargo +nightly run --release --target "$host" --all-features --example cache_stress
)

command -v cargo >/dev/null || fail "cargo is not installed: see https://rustup.rs"
if [ -n "$long" ]; then
    cargo +nightly --version >/dev/null 2>&1 ||
        fail "--long needs the nightly toolchain: rustup toolchain install nightly"
    cargo +nightly fuzz --version >/dev/null 2>&1 ||
        fail "--long needs cargo-fuzz: cargo install cargo-fuzz --version 0.13.2 --locked"
    # With the debug build's checks and an optimizer, many cases take minutes, not hours.
    export CARGO_PROFILE_DEV_OPT_LEVEL="${CARGO_PROFILE_DEV_OPT_LEVEL:-2}"
    # Ten times what proptest runs by itself, and what the tests ask for.
    export PROPTEST_CASES="${PROPTEST_CASES:-4000}" TENFOLD_SEEDS="${TENFOLD_SEEDS:-10}"
fi

step "PostgreSQL is there" postgresql
step "Redis is there" redis_server
# Those on real servers say how long failover, recovery and a dead server took.
step "unit and integration tests" cargo test --all-features --no-fail-fast --lib --tests
step "the documentation's examples" cargo test --all-features --doc
step "models of what synchronises by hand" models
step "stress" stress
step "the examples' own tests" example_tests
if [ -n "$long" ]; then
    step "a minute of each fuzz target" fuzz 60
    step "tests under AddressSanitizer" address_sanitizer
    step "stress under ThreadSanitizer" thread_sanitizer
fi
printf '\ntest.sh: everything passed in %d s\n' $((SECONDS - started))
