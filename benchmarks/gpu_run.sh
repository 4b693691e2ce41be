#!/usr/bin/env bash
# Trains anime-tags-64 at full width on a lent machine with one GPU, a torch of its own and no network.
# benchmarks/README.md says how it is used.
#
#   here    gpu_run.sh pack DATASET   a dataset that prepare made → data/carry: faces in parts, labels, wheels
#   here    gpu_run.sh plan           what each call to the machine carries
#   there   gpu_run.sh train          trains, exports, and leaves the first files in $OUT
#   there   gpu_run.sh next N         leaves the files of group N, 1 and on, in $OUT
#   here    gpu_run.sh keep FOLDER    what came back in FOLDER → data/carry/checkpoint; the model, once it is whole
set -euo pipefail
cd "$(dirname "$0")/.."

# --- Settings: each may be set in the environment.
MINUTES=${ANIMEGEN_GPU_RUN_MINUTES:-11} # of training in this call
# 30,000 steps are 7.7 million images: an estimate of two runs of 11 minutes, at 7.2 TFLOP a step and 170 TFLOP/s.
SET=${ANIMEGEN_GPU_RUN_SET:-generator.width=128 generator.blocks=1 critic.width=128 critic.blocks=1 batch_size=128 steps=30000 generator_optimiser.lr=2e-4}
FID_EVERY=${ANIMEGEN_GPU_RUN_FID_EVERY:-2500} # steps
FID_IMAGES=${ANIMEGEN_GPU_RUN_FID_IMAGES:-5000}
CHECKPOINT_EVERY=${ANIMEGEN_GPU_RUN_CHECKPOINT_EVERY:-1000} # steps; at full width each takes 522 MB
HALF=${ANIMEGEN_GPU_RUN_HALF:-}                              # not empty: the checkpoint travels in 16 bits
FACES_BYTES=${ANIMEGEN_GPU_RUN_FACES_BYTES:-44000000}
PYTHON=${PYTHON:-python3}
CARRY=${ANIMEGEN_GPU_RUN_CARRY:-data/carry} # git ignores both
WORK=${ANIMEGEN_GPU_RUN_WORK:-runs/gpu}
OUT=${OUT:-$WORK/returned}
# What the machine lacked when it was last asked, and two that it may have too old; its Python, on x86-64.
WHEELS='msgspec>=0.19 click>=8.2 rich>=13.9'
WHEELS_PYTHON=3.12
# --- Limits of the tool that lends the machine.
PART=${ANIMEGEN_GPU_RUN_PART:-16000000} # bytes of a file that comes back
BACK=64000000                           # bytes that come back together
BACK_FILES=8                            # files, likewise
TRAVELS=$((64 << 20)) # bytes of the working tree and all that is carried with a call
CARRIED_PATHS=8

say() { echo "gpu_run: $*"; }
fail() {
  echo "gpu_run: error: $*" >&2
  exit 1
}
carry() { "$PYTHON" benchmarks/gpu_carry.py "$@"; }

# split FILE FOLDER: FOLDER/NAME.000 and on, and FOLDER/NAME.sha256 of FILE and of each part.
split_file() {
  local file=$1 folder=$2 name
  name=$(basename "$file")
  mkdir -p "$folder"
  rm -f "$folder/$name".[0-9][0-9][0-9] "$folder/$name.sha256"
  split -b "$PART" -d -a 3 "$file" "$folder/$name."
  (cd "$folder" && sha256sum "$name".[0-9][0-9][0-9] >"$name.sha256")
  (cd "$(dirname "$file")" && sha256sum "$name") >>"$folder/$name.sha256"
}

# join FOLDER NAME FILE: the parts together, or a message that says which is missing or damaged.
join_file() {
  local folder=$1 name=$2 file=$3 sum
  [ -f "$folder/$name.sha256" ] || fail "$folder/$name.sha256 is missing: carry it beside the parts"
  (cd "$folder" && head -n -1 "$name.sha256" | sha256sum --quiet -c -) || fail "parts of $name are missing or damaged"
  mkdir -p "$(dirname "$file")"
  (cd "$folder" && head -n -1 "$name.sha256" | awk '{print $2}' | xargs cat) >"$file.joined"
  sum=$(sha256sum <"$file.joined")
  [ "${sum%% *}" = "$(tail -n 1 "$folder/$name.sha256" | cut -d ' ' -f 1)" ] || fail "$name is damaged"
  mv "$file.joined" "$file"
}

pack() {
  [ -n "${1:-}" ] || fail "name a dataset: gpu_run.sh pack data/faces64"
  local wheel="$CARRY/wheels" zip="$WORK/faces.zip"
  mkdir -p "$wheel" "$WORK"
  carry pack "$1" --zip "$zip" --table "$CARRY/labels.tsv" --limit "$FACES_BYTES"
  split_file "$zip" "$CARRY/faces"
  local platforms=() version
  for version in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${version}_x86_64"); done
  # shellcheck disable=SC2086 # several names
  "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version "$WHEELS_PYTHON" --implementation cp \
    "${platforms[@]}" --platform manylinux2014_x86_64 -d "$wheel" $WHEELS
  say "$(du -sh "$CARRY" | cut -f 1) in $CARRY; next: gpu_run.sh plan"
}

# The tree travels with each call, and what is carried must fit beside it.
plan() {
  local tree room files=() group n=0
  git rev-parse --short=12 HEAD >"$CARRY/revision"
  tree=$({ git ls-files -z; git ls-files -z -o --exclude-standard; } | { xargs -0 du -cb 2>/dev/null || true; } | awk 'END {print $1}')
  room=$((TRAVELS - tree - (1 << 20)))
  say "the tree has $tree bytes, which leaves $room a call"
  mapfile -t files < <(find "$CARRY" -type f | sort)
  [ "${#files[@]}" -gt 0 ] || fail "$CARRY is empty: gpu_run.sh pack DATASET first"
  carry groups --most "$CARRIED_PATHS" --limit "$room" "${files[@]}" | while read -r group; do
    n=$((n + 1))
    echo "call $n carries $group"
  done
  say "each call but the last runs 'true', and the last gpu_run.sh train; within 30 s of one another"
}

# The packages that are missing, from the wheels that were carried; the machine's own come second.
packages() {
  local lacks site
  site=$(realpath -m "$WORK/site")
  [ ! -d "$site" ] || export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
  lacks=$(carry missing)
  [ -n "$lacks" ] || return 0
  say "this Python lacks ${lacks//$'\n'/, }"
  if compgen -G "$CARRY/wheels/*.whl" >/dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" \
      "$CARRY"/wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    lacks=$(carry missing)
  fi
  [ -z "$lacks" ] || fail "no wheel in $CARRY/wheels for ${lacks//$'\n'/, }: add it to WHEELS and pack again"
}

dataset() {
  [ ! -f "$WORK/data/dataset.json" ] || return 0
  join_file "$CARRY/faces" faces.zip "$WORK/faces.zip"
  rm -rf "$WORK/data"
  "$PYTHON" -m train prepare "$WORK/faces.zip" --size 64 --labels "$CARRY/labels.tsv" --out "$WORK/data"
}

# A checkpoint that was carried, where this machine has none yet.
resume() {
  local given="$CARRY/checkpoint" run="$WORK/run"
  [ ! -f "$run/checkpoint.safetensors" ] || return 0
  [ -d "$given" ] || return 0
  mkdir -p "$run"
  if [ -f "$given/half.safetensors.sha256" ]; then
    join_file "$given" half.safetensors "$WORK/half.safetensors"
    carry convert "$WORK/half.safetensors" "$run/joined.safetensors"
  else
    join_file "$given" checkpoint.safetensors "$run/joined.safetensors"
  fi
  [ ! -f "$given/records.tar.gz" ] || tar -xzf "$given/records.tar.gz" -C "$run"
  mv "$run/joined.safetensors" "$run/checkpoint.safetensors" # last: from here on there is a run
}

fit() {
  local options=() setting
  for setting in $SET; do options+=(--set "$setting"); done
  if [ -f "$WORK/run/checkpoint.safetensors" ]; then options+=(--resume); fi
  if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    options+=(--device cuda --compile)
  else
    say "no GPU: a rehearsal, without --compile"
  fi
  "$PYTHON" -m train fit --preset anime-tags-64 "${options[@]}" --data "$WORK/data" --out "$WORK/run" \
    --minutes "$MINUTES" --log-every 50 --sample-every "$FID_EVERY" --checkpoint-every "$CHECKPOINT_EVERY" \
    --reference models/references/anime-faces.npz --fid-every "$FID_EVERY" --fid-images "$FID_IMAGES"
}

# The model of the best FID; in fp16 where it is as good, as it is half as long on its way.
export_model() {
  local from="$WORK/run" weights
  [ ! -f "$from/best.safetensors" ] || from="$from/best.safetensors"
  for weights in fp16 fp32; do
    "$PYTHON" -m train export "$from" --out "$WORK/anime-tags-64.onnx" --weights "$weights" && return 0
  done
  return 1
}

# All that is to come back, small files first.
results() {
  local results="$WORK/results" run="$WORK/run" grid
  rm -rf "$results"
  mkdir -p "$results"
  grid=$(find "$run/samples" -name '*.png' | sort | tail -n 1)
  [ -z "$grid" ] || cp "$grid" "$results/samples.png"
  (cd "$run" && tar -czf - ./*.jsonl) >"$results/records.tar.gz"
  if [ -n "$HALF" ]; then
    carry convert --half "$run/checkpoint.safetensors" "$WORK/half.safetensors"
    split_file "$WORK/half.safetensors" "$results"
  else
    split_file "$run/checkpoint.safetensors" "$results"
  fi
  if export_model; then
    split_file "$WORK/anime-tags-64.onnx" "$results"
  else
    say "warning: no model was exported; the checkpoint is whole" >&2
  fi
}

groups() {
  local small=() large=()
  mapfile -t small < <(find "$WORK/results" -type f ! -name '*.[0-9][0-9][0-9]' | sort)
  mapfile -t large < <(find "$WORK/results" -type f -name '*.[0-9][0-9][0-9]' | sort) # the model, then the checkpoint
  carry groups --most "$BACK_FILES" --limit "$BACK" "${small[@]}" "${large[@]}"
}

# next N: the files of the group N, counted from 0, into $OUT.
next() {
  local group count
  [[ ${1:-} =~ ^[0-9]+$ ]] || fail "say which group: gpu_run.sh next 1"
  count=$(groups | wc -l)
  [ "$1" -lt "$count" ] || fail "there are the groups 0 to $((count - 1))"
  read -ra group < <(groups | sed -n "$(($1 + 1))p")
  mkdir -p "$OUT"
  cp "${group[@]}" "$OUT/"
  say "group $1 of 0 to $((count - 1)) is in OUT: ${#group[@]} files"
}

train() {
  mkdir -p "$WORK"
  packages
  [ ! -f "$CARRY/revision" ] || ANIMEGEN_REVISION=$(cat "$CARRY/revision")
  export ANIMEGEN_REVISION=${ANIMEGEN_REVISION:-unknown}
  dataset
  resume
  fit
  results
  next 0
  say "$(carry report "$WORK/run")"
}

# keep FOLDER: call it with each group as it comes, group 0 first.
keep() {
  [ -d "${1:-}" ] || fail "name the folder with the files that came back"
  local target="$CARRY/checkpoint" name=checkpoint.safetensors file lacks
  [ ! -f "$1/records.tar.gz" ] || rm -rf "$target" # group 0 of a newer run
  mkdir -p "$target"
  find "$1" -maxdepth 1 -type f -exec cp --no-preserve=mode -t "$target" {} +
  [ ! -f "$target/half.safetensors.sha256" ] || name=half.safetensors
  for file in anime-tags-64.onnx "$name"; do
    [ -f "$target/$file.sha256" ] || continue
    lacks=$(cd "$target" && head -n -1 "$file.sha256" | awk '{print $2}' | while read -r part; do
      [ -f "$part" ] || echo "$part"
    done)
    if [ -n "$lacks" ]; then
      say "$file waits for $(wc -w <<<"$lacks") more parts"
    elif [ "$file" = anime-tags-64.onnx ]; then
      join_file "$target" "$file" "$WORK/$file"
      rm "$target/$file".*
      say "the model is $WORK/$file"
    else
      (cd "$target" && head -n -1 "$file.sha256" | sha256sum --quiet -c -) || fail "parts of $file are damaged"
      say "$file is whole, in parts, in $target; the next plan carries it"
    fi
  done
}

case "${1:-}" in
  pack | plan | train | next | keep) "$@" ;;
  split) split_file "${@:2}" ;;
  join) join_file "${@:2}" ;;
  *) fail "say one of pack, plan, train, next, keep (or split FILE FOLDER, join FOLDER NAME FILE)" ;;
esac
