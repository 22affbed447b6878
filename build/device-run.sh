#!/usr/bin/env bash
# Why this exists: the one way into a device bundle: finds the machine's PyTorch, keeps runs in memory, and has the verbs that a card is rented for.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
export PATH="$here/ffmpeg:$PATH" DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 COCLR_ROOT="$here" COCLR_COMMAND="$here/bin/coclr"
export COCLR_PEERS_DIR="${COCLR_PEERS_DIR:-$here/peers}" COCLR_PYTHON="${COCLR_PYTHON:-python3}"
workdir="${COCLR_WORKDIR:-/dev/shm/coclr}"

usage() {
  cat <<'TEXT'
usage: run.sh VERB [options]       in the order that pays when minutes count (check and bench gpu are meant to take three each):

  doctor                what this machine has (seconds)
  check [--quick]       whether the card computes what the processor computes; coclr check --help
  bench gpu             training steps, extraction and flow beside this machine's PyTorch, as a Markdown table; any other benchmark by its name
  train [MANIFEST]      a whole run on the card (samples/synthetic-smoke.yaml); runs lie in /dev/shm/coclr or COCLR_WORKDIR
  VERB                  any other verb of coclr

COCLR_LIBTORCH names the lib folder of a PyTorch 2.10 or 2.11; without it, that of COCLR_PYTHON (python3) is taken.
TEXT
}

libtorch() {
  [ -z "${COCLR_LIBTORCH:-}" ] || return 0
  # Without importing it, which takes seconds.
  COCLR_LIBTORCH=$("$COCLR_PYTHON" -c 'import importlib.util as u, os; s = u.find_spec("torch"); print(os.path.join(os.path.dirname(s.origin), "lib") if s else "")' 2>/dev/null) || true
  if [ -z "$COCLR_LIBTORCH" ]; then
    echo "run.sh: $COCLR_PYTHON has no PyTorch: set COCLR_PYTHON to a Python that has 2.10 or 2.11, or COCLR_LIBTORCH to its torch/lib folder." >&2
    exit 78
  fi
  export COCLR_LIBTORCH
}

case "${1:-}" in
  '' | -h | --help) usage ;;
  bench) shift; libtorch; exec "$here/bin/CoCLR.Benchmarks" "$@" ;;
  train)
    libtorch
    manifest=${2:-$here/samples/synthetic-smoke.yaml}
    exec "$here/bin/coclr" run -f "$manifest" -w "$workdir" --set device=cuda "${@:3}"
    ;;
  *) libtorch; exec "$here/bin/coclr" "$@" ;;
esac
