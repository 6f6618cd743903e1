# Shared by the commands in this folder: what they need from the system, and how they build. Sourced, not run.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build_packages="gcc libc6-dev cmake ninja-build liblua5.4-dev libopenblas-dev libsleef-dev zlib1g-dev libedit-dev"
test_packages="lua-busted lua-check gnuplot-nox luajit"

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# need PACKAGE...: installs those that are missing, where apt is there to do it; elsewhere CMake names what it misses.
need() {
  command -v apt-get >/dev/null || return 0
  local missing="" package
  for package in $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
    awk -v want="$*" '$2 == "installed" { have[$1] } END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'); do
    missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  local root=""
  [ "$(id -u)" = 0 ] || root=$(command -v sudo) || fail "please install:$missing (or run as root, or with sudo)"
  echo "installing:$missing" >&2
  $root apt-get update -qq >&2
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >&2
}

# build FOLDER [CMAKE OPTION...]: configures once, then builds what changed; says nothing when nothing did.
build() {
  local folder=$1
  shift
  [ -f "$folder/build.ninja" ] || cmake -S . -B "$folder" -G Ninja "$@" >&2
  local log
  log=$(mktemp)
  if ! ninja -C "$folder" --quiet >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "the build in $folder failed"
  fi
  rm -f "$log"
}

# run_tests FOLDER [CTEST OPTION...]: runs ctest; adds up the cases of all tests into `passed` and `failed`.
passed=0
failed=0
run_tests() {
  local folder=$1 counts status=0
  shift
  ctest --test-dir "$folder" --output-on-failure -j "$(nproc)" "$@" || status=1
  # C tests say "N passed, N failed"; busted says "N successes / N failures / N errors / ..."
  counts=$(awk '/^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3 }
    /^[0-9]+ success(es)? \/ [0-9]+ failures?/ { p += $1; f += $4 + $7 }
    END { print p + 0, f + 0 }' "$folder/Testing/Temporary/LastTest.log")
  passed=$((passed + ${counts% *}))
  failed=$((failed + ${counts#* }))
  # A test that crashed before it could count is still a failure.
  if [ "$status" != 0 ] && [ "${counts#* }" = 0 ]; then failed=$((failed + 1)); fi
}
