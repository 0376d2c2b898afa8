#!/bin/sh
# Counts the instructions of one hit, one miss and one eviction of tenfold, quick_cache and moka.
# Needs valgrind. Each figure is the difference of two runs, so that the start cancels out.
exec cargo run --release --manifest-path "$(dirname "$0")/Cargo.toml" --features cache -- cache-throughput --instructions "$@"
