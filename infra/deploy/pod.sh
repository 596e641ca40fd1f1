#!/usr/bin/env bash
# Sets Teachback up on a rented machine whose disk is gone when it stops, all of it on the volume that stays:
#
#   git clone REPOSITORY /workspace/teachback
#   /workspace/teachback/infra/deploy/pod.sh --studies http://pacs.example/dicom-web
#
# Run it once; then, after each restart of the machine, the script that it leaves. Run again it goes on where it was
# interrupted, and changes nothing where all is there.
#
#   --volume DIR    what outlives the machine; /workspace without a word
#   --port N        the one port that the machine exposes; 8000
#   --studies X     images: a folder of the volume, or a DICOMweb server
#   --name HOST,…   how the machine is called from outside, if RunPod's environment does not say it
#   --venv DIR      an environment that has Teachback already; without a word it is made, in the checkout
#   -- …            more for `teachback up`, such as --models, --labels, --exit-when-idle 30m
set -euo pipefail
umask 077

volume=/workspace port=8000 studies='' names='' venv='' more=()
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
changed=

say() { printf '%s\n' "$*"; }
refuse() {
  printf 'pod.sh: %s\n' "$*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --) shift; more=("$@"); break ;;
    --volume | --port | --studies | --name | --venv)
      [ $# -gt 1 ] || refuse "$1 takes a value."
      case $1 in
        --volume) volume=$2 ;;
        --port) port=$2 ;;
        --studies) studies=$2 ;;
        --name) names=$2 ;;
        --venv) venv=$2 ;;
      esac
      shift 2 ;;
    *) refuse "$1 is no option of this script; what is for \`teachback up\` comes after --." ;;
  esac
done

case $studies in
  '' | *://*) ;;
  *)
    [ -d "$studies" ] || refuse "--studies names $studies, and there is no such folder: give one of the volume, or an address."
    studies=$(cd "$studies" && pwd -P) ;;
esac
[ -d "$volume" ] || refuse "There is no folder $volume: name the volume's with --volume."
volume=$(cd "$volume" && pwd -P)
[[ $port =~ ^[0-9]{1,5}$ ]] || refuse "--port was $port; give a number."
if [ -z "$venv" ]; then
  [[ $checkout/ == "$volume"/* ]] || refuse "This checkout, $checkout, ends with the machine: clone it into $volume, and run it there."
  venv=$checkout/.venv
fi
# SQLite keeps its log in memory that processes share: over a network it loses what was committed.
case $(stat -f -c %T "$volume") in
  nfs* | cifs | smb* | fuse* | ceph | lustre | gfs* | ocfs2 | 9p | v9fs)
    say "Take care: $volume is a network's file system. The catalog needs a disk of this machine, or a PostgreSQL (TEACHBACK_CATALOG_URL)." ;;
esac
mountpoint -q "$volume" || say "Take care: $volume is no mount, and may end with the machine."

home=$volume/teachback-home tools=$volume/teachback-tools
environment=$volume/teachback.env start=$volume/start_teachback.sh key=$home/pod.key

# Writes standard input to a file, whole or not at all, unless that says the same already.
put() {
  local file=$1 mode=$2 partial=$1.partial
  cat >"$partial"
  chmod "$mode" "$partial"
  if cmp -s "$partial" "$file"; then
    rm "$partial"
  else
    mv "$partial" "$file"
    changed=yes
    say "Written: $file"
  fi
}

mkdir -p "$home" "$tools/tmp"

# HOME, too: what honours no variable of its own ends there. Images set some of these to places that end with them.
put "$environment" 600 <<END
# Written by $checkout/infra/deploy/pod.sh: for a shell beside the server, by \`. $environment\`.
export HOME=$(printf %q "$tools")
export XDG_CACHE_HOME="\$HOME/.cache" XDG_CONFIG_HOME="\$HOME/.config" XDG_DATA_HOME="\$HOME/.local/share" XDG_STATE_HOME="\$HOME/.local/state"
export PIP_CACHE_DIR="\$XDG_CACHE_HOME/pip" HF_HOME="\$XDG_CACHE_HOME/huggingface" TORCH_HOME="\$XDG_CACHE_HOME/torch"
export MPLCONFIGDIR="\$XDG_CONFIG_HOME/matplotlib" NILEARN_DATA="\$XDG_DATA_HOME/nilearn" PREFECT_HOME="\$HOME/.prefect"
export CUDA_CACHE_PATH="\$XDG_CACHE_HOME/nv" TRITON_CACHE_DIR="\$XDG_CACHE_HOME/triton" TMPDIR="\$HOME/tmp"
export TEACHBACK_HOME=$(printf %q "$home")
export PATH=$(printf %q "$venv/bin"):"\$PATH"
END
# shellcheck source=/dev/null
. "$environment"

# Installs what is missing in the checkout's own environment; one that was named is left as it is.
install() {
  if [ -e "$venv" ] && ! "$venv/bin/python" -c ''; then
    say "Removing $venv: the Python that it was made with is gone."
    rm -rf "$venv"
  fi
  if ! command -v make >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install make python3-venv
  fi
  make -q -C "$checkout" setup 2>/dev/null || {
    make -C "$checkout" setup
    changed=yes
  }
}
[ "$venv" != "$checkout/.venv" ] || install
[ -x "$venv/bin/teachback" ] || refuse "There is no teachback in $venv/bin: leave --venv out to have it installed."

if [ ! -s "$key" ]; then
  teachback keys create --name pod --role engineer >"$key.partial"
  mv "$key.partial" "$key"
  changed=yes
  say "Made: a key"
fi

words=("${more[@]}")
[ -z "$studies" ] || words=(--studies "$studies" "${words[@]}")
put "$start" 700 <<END
#!/usr/bin/env bash
# Written by $checkout/infra/deploy/pod.sh: run it after each restart. What it is given goes to \`teachback up\`.
set -euo pipefail
. $(printf %q "$environment")
$(printf %q "$venv/bin/python") -c '' || {
  echo "The Python that Teachback was installed with is gone: run $checkout/infra/deploy/pod.sh again." >&2
  exit 1
}
# A request has to name this server as one of these: RunPod says its own, for a mapped port and for its https proxy.
export TEACHBACK_ALLOWED_HOSTS=$(printf %q "$names")\${RUNPOD_PUBLIC_IP:+,\$RUNPOD_PUBLIC_IP}\${RUNPOD_POD_ID:+,\$RUNPOD_POD_ID-$port.proxy.runpod.net}
exec teachback up --host 0.0.0.0 --port $port --insecure-network$([ ${#words[@]} = 0 ] || printf ' %q' "${words[@]}") "\$@"
END

[ -n "$changed" ] || say "All of it is there already: nothing was changed."
say "Start it, now and after each restart:  $start"
say "Port:                                  $port"
say "Key, of the role engineer:             $(cat "$key")"
