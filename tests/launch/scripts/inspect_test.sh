#!/usr/bin/env bash
# inspect_test.sh MUMOE: mumoe inspect says of a run, a checkpoint and two of them what Python finds in their files, names
# what is damaged and goes on; mumoe convert --consolidate writes the same tensors as one file, from which a run goes on.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 6
warmup = 1
[train]
steps = 4
batch = 4
eval_every = 2
eval_windows = 9
precision = fp32
gemm = mkl
[checkpoint]
every = 2
best = yes
CONFIG
quiet "$mpirun" -n 2 "$mumoe" train --config tiny.cfg --train.out cut --parallel.tp 2 --parallel.plan bottleneck
quiet "$mpirun" -n 2 "$mumoe" train --config tiny.cfg --train.out dealt --parallel.zero 1

# is EXPRESSION: in Python, with what check.py has.
cat >check.py <<'PYTHON'
import json, math, struct, sys
SIZES = {"F64": ("d", 8), "F32": ("f", 4), "I64": ("q", 8), "I32": ("i", 4), "U8": ("B", 1)}

def safetensors(path):
    """Of each tensor: dtype, shape, elements; and the metadata."""
    data = open(path, "rb").read()
    size, = struct.unpack_from("<Q", data)
    head = json.loads(data[8:8 + size])
    metadata = head.pop("__metadata__", {})
    tensors = {}
    for name, entry in head.items():
        letter, width = SIZES[entry["dtype"]]
        begin, end = entry["data_offsets"]
        values = struct.unpack_from("<%d%s" % ((end - begin) // width, letter), data, 8 + size + begin)
        tensors[name] = entry["dtype"], entry["shape"], values
    return tensors, metadata

def places(shape, begin, extent, first, count):
    """Where elements first, first + 1, ... of a part lie in the whole tensor."""
    for element in range(first, first + count):
        place, stride = 0, 1
        for d in reversed(range(len(shape))):
            place += (begin[d] + element % extent[d]) * stride
            element //= extent[d]
            stride *= shape[d]
        yield place

def checkpoint(folder):
    """The tensors of a checkpoint, put together from the files of its ranks."""
    manifest = json.load(open(folder + "/manifest.json"))
    files = [safetensors(folder + "/" + file["name"])[0] for file in manifest["files"]]
    tensors = {}
    for name, entry in manifest["tensors"].items():
        whole = [None] * math.prod(entry["shape"])
        for piece in entry["pieces"]:
            dtype, shape, values = files[piece["file"]][name]
            assert dtype == entry["dtype"] and len(values) == piece["count"], name
            for place, value in zip(places(entry["shape"], piece["begin"], piece["extent"], piece["first"], piece["count"]), values):
                assert whole[place] is None, name
                whole[place] = value
        assert None not in whole, name
        tensors[name] = entry["dtype"], entry["shape"], tuple(whole)
    return tensors, manifest

def near(a, b): return abs(a - b) <= 1e-12 * abs(b)
def norm(values): return math.sqrt(math.fsum(float(v) ** 2 for v in values))

def agrees(found, tensors):
    """Whether JSON says of the tensors what is in them."""
    assert [t["name"] for t in found["tensors"]] == sorted(tensors)
    for said in found["tensors"]:
        dtype, shape, values = tensors[said["name"]]
        assert said["dtype"] == dtype and said["shape"] == shape, said
        assert said["bytes"] == len(values) * SIZES[dtype][1], said
        assert near(said["norm"], norm(values)), said
        assert said["largest"] == max(map(abs, values)), said
        assert said["non_finite"] == 0 and said["damage"] == "", said
    for total in found["totals"]:
        if total["kind"] == "buffers": continue
        own = [v for n, v in tensors.items() if n.startswith(total["kind"] + ".")]
        assert total["tensors"] == len(own), total
        assert total["elements"] == sum(len(v[2]) for v in own), total
        assert near(total["norm"], norm([x for v in own for x in v[2]])), total
    assert sum(t["bytes"] for t in found["totals"]) == sum(len(v) * SIZES[d][1] for d, _, v in tensors.values())
    return True

def said(path): return json.load(open(path))
def metrics(run): return [json.loads(line) for line in open(run + "/metrics.jsonl")]
if not eval(sys.argv[1]): sys.exit("false")
PYTHON
is() { python3 check.py "$1" 2>why || wrong "$1: $(tail -n 3 why)"; }

# A checkpoint, read by nothing but Python's library, and what is said of it; the same tensors as one file.
for run in cut dealt; do
  step=$run/checkpoints/step_00000004
  quiet "$mumoe" inspect $step --json $run.json
  is "agrees(said('$run.json'), checkpoint('$step')[0])"
  is "said('$run.json')['settings'] == checkpoint('$step')[1]['settings'] and len(said('$run.json')['files']) == 2"
  is "said('$run.json')['samples_hash'] == metrics('$run')[-1]['samples_hash'] and said('$run.json')['step'] == 4"
  is "all(f['damage'] == '' and f['blocks'] > 0 for f in said('$run.json')['files']) and said('$run.json')['whole']"
  is "any(t['pieces'] == 2 for t in said('$run.json')['tensors']) and said('$run.json')['samples'] == 16"
  quiet "$mumoe" convert --from $run --to $run-one/checkpoints/step_00000004 --consolidate
  is "safetensors('$run-one/checkpoints/step_00000004/state.safetensors')[0] == checkpoint('$step')[0]"
  [[ $(ls -A $run-one/checkpoints $run-one/checkpoints/*) == *step_00000004*state.safetensors ]] || wrong "$run: $(ls -AR $run-one)"
  quiet "$mumoe" inspect $run-one/checkpoints/step_00000004 --json one.json
  is "agrees(said('one.json'), checkpoint('$step')[0]) and said('one.json')['format'] == 1"
  is "all(said('one.json')[k] == said('$run.json')[k] for k in ('step', 'samples', 'samples_hash', 'settings'))"
  quiet "$mumoe" inspect $run --other $run-one --json difference.json
  is "(lambda d: d['equal'] == len(d['tensors']) > 20 and not d['settings'] and not d['only_here'])(said('difference.json'))"
done
is "said('cut.json')['mesh'] == {'dp': 1, 'tp': 2} and said('dealt.json')['mesh'] == {'dp': 2, 'tp': 1}"
quiet "$mumoe" inspect cut/checkpoints/step_00000004 --json -
cmp -s stdout cut.json || wrong "--json -: $(head -n 3 stdout)"

# A run goes on from one file as from several.
on=("$mpirun" -n 2 "$mumoe" train --config tiny.cfg --parallel.zero 1 --train.steps 6 --train.resume)
quiet "${on[@]}" --train.out dealt
quiet "${on[@]}" --train.out dealt-one
is "[(m['step'], m['loss']) for m in metrics('dealt-one')] == [(m['step'], m['loss']) for m in metrics('dealt')[-2:]]"
quiet "$mumoe" inspect dealt --other dealt-one --json difference.json
is "(lambda d: d['equal'] == len(d['tensors']) > 20 and d['here']['step'] == 6)(said('difference.json'))"

# Two that differ: how much, in which tensors, and what settings.
quiet "$mumoe" inspect cut --other dealt --tensors master --json difference.json
cat >differ.py <<'PYTHON'
exec(open("check.py").read().rsplit("\n", 2)[0])
a, b = checkpoint("cut/checkpoints/step_00000004")[0], checkpoint("dealt/checkpoints/step_00000006")[0]
found = json.load(open("difference.json"))
assert {t["name"] for t in found["tensors"]} == {n for n in a if n.startswith("master")}
for t in found["tensors"]:
    off = [x - y for x, y in zip(a[t["name"]][2], b[t["name"]][2])]
    assert not t["equal"] and t["largest"] == max(map(abs, off)), t
    if any(a[t["name"]][2]): assert near(t["relative"], norm(off) / norm(a[t["name"]][2])), t
settings = {s["key"]: (s["here"], s["other"]) for s in found["settings"]}
assert settings["parallel.tp"] == ("2", "1"), settings
PYTHON
python3 differ.py 2>why || wrong "the difference: $(tail -n 2 why)"

# The run: its checkpoints, the newest, the best, the last step.
quiet "$mumoe" inspect dealt --json run.json
is "[c['step'] for c in said('run.json')['checkpoints']] == [4, 6] and said('run.json')['newest'] == 'step_00000006'"
is "said('run.json')['last_step'] == metrics('dealt')[-1] and said('run.json')['settings']['train.steps'] == '6'"
is "said('run.json')['best_loss'] == min(m['val_loss'] for m in metrics('dealt') if 'val_loss' in m)"
grep -q '^newest *step_00000006$' stdout || wrong "run: $(<stdout)"
grep -qE '^step_00000004 +4 +16 +2 +.* whole$' stdout || wrong "run: $(<stdout)"

# As wide as the terminal.
longest() { LC_ALL=C.UTF-8 awk '{ if (length($0) > n) n = length($0) } END { print n }' "$1"; }
for columns in 50 80 200; do
  for words in cut cut/checkpoints/step_00000004 "cut --other dealt"; do
    # shellcheck disable=SC2086
    COLUMNS=$columns "$mumoe" inspect $words >narrow
    (($(longest narrow) <= columns)) || wrong "COLUMNS=$columns inspect $words: a line of $(longest narrow)"
  done
done
COLUMNS=200 "$mumoe" inspect cut/checkpoints/step_00000004 --tensors '*.wte*' >narrow
grep -qE '^master\.[^ ]*wte[^ ]* +[0-9x]+ +F32 +2 ' narrow || wrong "no row of the embedding: $(<narrow)"
if grep -q '^master.*ln' narrow; then wrong "--tensors: $(<narrow)"; fi

# Damage in one of the files is named, and the rest told. A copy goes past it.
cp -r cut broken
python3 - <<'PYTHON'
import json
folder = "broken/checkpoints/step_00000004/"
piece = next(p for p in json.load(open(folder + "manifest.json"))["tensors"]["master.wte"]["pieces"] if p["file"] == 1)
with open(folder + "rank_00001.safetensors", "r+b") as file:
    file.seek(piece["offset"])
    byte = file.read(1)[0]
    file.seek(piece["offset"])
    file.write(bytes([byte ^ 16]))
PYTHON
refused "flipped" "broken/checkpoints/step_00000004/rank_00001.safetensors: bytes 0 to" \
  "$mumoe" inspect broken/checkpoints/step_00000004 --json broken.json
grep -q '^damaged .*rank_00001' <(tr -d '\n' <stdout | sed 's/damaged/\ndamaged/') || wrong "flipped: $(<stdout)"
is "[f['damage'] == '' for f in said('broken.json')['files']] == [True, False] and not said('broken.json')['whole']"
is "all((t['norm'] is None) == ('rank_00001.safetensors' in t['files']) for t in said('broken.json')['tensors'])"
refused "of a run" "step_00000004/rank_00001.safetensors: bytes 0 to" "$mumoe" inspect broken --json run.json
is "said('run.json')['newest'] == 'step_00000002'"
quiet "$mumoe" inspect broken --verify no
quiet "$mumoe" convert --from broken --to two --consolidate
grep -q 'step_00000002 is taken instead' stdout || wrong "past damage: $(<stdout)"
is "safetensors('two/state.safetensors')[0] == checkpoint('broken/checkpoints/step_00000002')[0]"
refused "a damaged one" "rank_00001.safetensors: " "$mumoe" convert --from broken/checkpoints/step_00000004 --to new/three --consolidate
[[ ! -e new ]] || wrong "a damaged one: left $(ls -AR new)"
rm broken/checkpoints/step_00000004/rank_00001.safetensors
refused "missing" "rank_00001.safetensors: No such file" "$mumoe" inspect broken/checkpoints/step_00000004 --verify no
echo nonsense >broken/checkpoints/step_00000004/manifest.json
refused "no manifest" "step_00000004/manifest.json" "$mumoe" inspect broken/checkpoints/step_00000004
grep -q '^rank_00000.safetensors ' stdout || wrong "no manifest: $(<stdout)"

# What one rank wrote, made anew of the others.
quiet "$mpirun" -n 2 "$mumoe" train --config tiny.cfg --train.out summed --train.steps 2 --checkpoint.parity 1
cp -r summed/checkpoints/step_00000002 before
rm summed/checkpoints/step_00000002/rank_00001.safetensors
refused "lost" "rank_00001.safetensors" "$mumoe" inspect summed/checkpoints/step_00000002
quiet "$mumoe" inspect summed --repair yes
grep -q '^mumoe inspect: .*rank_00001.safetensors' stderr || wrong "repaired: $(<stderr)"
diff -r before summed/checkpoints/step_00000002 || wrong "repaired: other bytes"
quiet "$mumoe" inspect summed/checkpoints/step_00000002 --repair yes
grep -q 'nothing to repair$' stderr || wrong "whole: $(<stderr)"
rm summed/checkpoints/step_00000002/{*.safetensors,parity_00000.bin}
refused "all lost" "rank_00001.safetensors" "$mumoe" inspect summed/checkpoints/step_00000002 --repair yes

# What does not fit.
refused "no path" "mumoe inspect: PATH is missing" "$mumoe" inspect
refused "nowhere" "nowhere: is not there" "$mumoe" inspect nowhere
refused "a folder of others" "corpus: is neither a run directory nor a checkpoint" "$mumoe" inspect corpus
refused "two paths" "stands there more than once" "$mumoe" inspect cut dealt
refused "words for yes" "--verify maybe: expected yes or no" "$mumoe" inspect cut --verify maybe
refused "a comparison that reads nothing" "--verify no: to compare" "$mumoe" inspect cut --other dealt --verify no
refused "no place for the JSON" "nowhere/x.json" "$mumoe" inspect cut --json nowhere/x.json
refused "two ranks" "mumoe inspect: 2 ranks were started" "$mpirun" -n 2 "$mumoe" inspect cut
refused "converted and kept" "--dtype bf16: --consolidate keeps a checkpoint as it is" \
  "$mumoe" convert --from cut --to new --consolidate --dtype bf16
refused "what is there" "two: is there already" "$mumoe" convert --from cut --to two --consolidate
refused "no checkpoint" "corpus: is neither a run directory nor a checkpoint" "$mumoe" convert --from corpus --to new --consolidate

end
