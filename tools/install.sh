#!/usr/bin/env bash
# Installs the programs that demo and tests need, each pinned: tools/install.sh TOOL...
# TOOL: demo (DuckDB), readers (DuckDB, Polars, PySpark, deltalake, chDB, fastparquet, moto), old-readers (DuckDB, pyarrow), sail,
# javascript-readers (hyparquet, parquet-wasm, parquetjs), bench (DuckDB, Polars, chDB, PySpark), java, azurite, garage, cargo-deny,
# cargo-fuzz, perf, uv.
#
# A tool lies in the cache, in a folder named after its version, so that fresh clones find it built; `.tools/NAME` points there.
# DEFENDER_LAKE_TOOLS moves the cache (default: ~/.cache/defender-lake). What cannot be installed is an error, never skipped.
set -euo pipefail

CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.1
GARAGE_VERSION=2.5.0
JAVA_PACKAGE=openjdk-17-jre-headless
JAVA_AT_LEAST=17

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
cache=${DEFENDER_LAKE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/defender-lake}
log=$cache/install.log

fail() {
    echo "tools: $*" >&2
    exit 1
}

# Two installs at once would delete each other's folders.
mkdir -p "$cache"
if command -v flock >/dev/null; then
    exec 9>>"$cache/install.lock"
    flock 9
fi

# need PROGRAM PACKAGE...: finds the program or installs the Debian packages that bring it.
need() {
    local program=$1
    shift
    command -v "$program" >/dev/null || apt_install "$program" "$@"
}

apt_install() {
    local program=$1
    shift
    local hint="$program is missing: install it (Debian: apt-get install $*)"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "$hint"
    echo "tools: apt-get install $*"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
        >>"$log" 2>&1 || fail "$hint; what apt-get said is in $log"
}

digest() {
    cat "$@" | sha256sum | cut -c1-12
}

# once NAME VERSION COMMAND...: runs COMMAND FOLDER unless that version is complete, and points .tools/NAME at it.
once() {
    local name=$1 folder=$cache/$1-$2
    shift 2
    if [ ! -e "$folder/.complete" ]; then
        echo "tools: installing $name into $folder"
        rm -rf "$folder"
        mkdir -p "$folder"
        "$@" "$folder" >>"$log" 2>&1 || fail "$name did not install; its output is in $log: $(tail -n 1 "$log")"
        touch "$folder/.complete"
    fi
    mkdir -p "$project/.tools"
    ln -sfn "$folder" "$project/.tools/$name"
}

# Every file that pip takes has its digest in the pins; what is published as source alone is built by the setuptools of build.txt.
python_packages() {
    local pins=$1 folder=$2
    local pip=("$folder/bin/python3" -m pip install --disable-pip-version-check --no-cache-dir --require-hashes)
    python3 -m venv "$folder" &&
        "${pip[@]}" --only-binary :all: -r "$here/python/build.txt" &&
        "${pip[@]}" --only-binary :all: --no-binary pyspark,pyspark-client --no-build-isolation -r "$pins"
}

# install_python_packages NAME: the packages of python/NAME.txt.
install_python_packages() {
    local name=$1 pins=$here/python/$1.txt
    need python3 python3 python3-venv
    once "$name" "$(digest "$pins" "$here/python/build.txt")" python_packages "$pins"
}

install_bench() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "the benchmark needs Python 3.11 or later"
    install_python_packages bench
}

# Major version of the java on the path; 0 where there is none.
java_major() {
    local major
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    echo "${major:-0}"
}

install_java() {
    [ "$(java_major)" -ge "$JAVA_AT_LEAST" ] || apt_install "java $JAVA_AT_LEAST" "$JAVA_PACKAGE"
}

node_packages() {
    local name=$1 folder=$2
    cp "$here/$name/package.json" "$here/$name/package-lock.json" "$folder" &&
        npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund
}

install_node_packages() {
    local name=$1
    need node nodejs
    need npm npm
    once "$name" "$(digest "$here/$name"/package*.json)" node_packages "$name"
}

install_azurite() {
    install_node_packages azurite
}

install_javascript-readers() {
    install_node_packages javascript-readers
}

# Built with little optimisation and one of its storage engines: a test server that must be ready soon, not fast.
garage_build() {
    (cd "$1" && CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install garage --version "$GARAGE_VERSION" --locked \
        --no-default-features --features bundled-libs,lmdb --root "$1" --target-dir "$1/build") &&
        rm -rf "$1/build"
}

install_garage() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later"
    need cc build-essential
    once garage "$GARAGE_VERSION" garage_build
}

cargo_fuzz_build() {
    (cd "$1" && cargo install cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked --root "$1" --target-dir "$1/build") &&
        rm -rf "$1/build"
}

install_cargo-fuzz() {
    need cargo cargo
    need c++ build-essential
    once cargo-fuzz "$CARGO_FUZZ_VERSION" cargo_fuzz_build
}

# Built without optimisation: it checks one small graph.
cargo_deny_build() {
    (cd "$1" && CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off cargo install cargo-deny --version "$CARGO_DENY_VERSION" \
        --locked --root "$1" --target-dir "$1/build") &&
        rm -rf "$1/build"
}

install_cargo-deny() {
    need cargo cargo
    need cc build-essential
    once cargo-deny "$CARGO_DENY_VERSION" cargo_deny_build
}

install_perf() {
    need python3 python3
    need perf linux-perf
}

names="demo, readers, old-readers, sail, javascript-readers, bench, java, azurite, garage, cargo-deny, cargo-fuzz, perf, uv"
[ $# -gt 0 ] || fail "name the tools: $names"
mkdir -p "$cache"
: >"$log"
for tool in "$@"; do
    case $tool in
        demo | readers | old-readers | sail | uv) install_python_packages "$tool" ;;
        javascript-readers | bench | java | azurite | garage | cargo-deny | cargo-fuzz | perf) "install_$tool" ;;
        *) fail "no tool is called \`$tool\`: $names" ;;
    esac
done
