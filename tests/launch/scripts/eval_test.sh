#!/usr/bin/env bash
# eval_test.sh MUMOE: mumoe eval says what the run itself found, the same on any number of ranks; what does not fit is one
# line and exit code 2.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 4
warmup = 1
[train]
steps = 4
batch = 4
eval_windows = 9
precision = fp32
gemm = mkl
CONFIG
"$mumoe" data --config tiny.cfg --out tokens >/dev/null
quiet "$mumoe" train --config tiny.cfg --train.out run
for ((q = 0; q < 23; q++)); do
  echo "{\"ctx\": \"${q}abc$((q * q))\", \"endings\": [\"de\", \"a truth$q\", \"x\"], \"label\": $((q % 3))}"
done >questions.jsonl

# is FILE EXPRESSION: in Python, with `text` and `choices` of the JSON in FILE.
cat >is.py <<'PYTHON'
import json, math, struct, sys
found = json.load(open(sys.argv[1]))
text, choices = found.get("text"), found.get("choices")
def near(a, b, most=1e-6): return abs(a - b) <= most * abs(b)
def val_loss(): return json.loads(open("run/metrics.jsonl").readlines()[-1])["val_loss"]
def targets():
    tokens = open("tokens/val.bin", "rb").read()[1024:]
    tokens = struct.unpack("<%dH" % (len(tokens) // 2), tokens)
    return tokens[1:(len(tokens) - 1) // 16 * 16 + 1]
sys.exit(0 if eval(sys.argv[2]) else 1)
PYTHON
is() { python3 is.py "$1" "$2" || wrong "$1: expected $2: $(<"$1")"; }

# The same windows as the run evaluates, and all of them, counted by hand.
quiet "$mumoe" eval --run run --windows 9 --json nine.json
is nine.json 'near(text["loss"], val_loss())'
is nine.json 'text["windows"] == 9 and text["tokens"] == 144 and choices is None and found["step"] == 4'
quiet "$mumoe" eval --run run --choices questions.jsonl --data tokens --json one.json
is one.json 'text["tokens"] == len(targets()) and text["bytes"] == sum(t != 0 for t in targets()) < text["tokens"]'
is one.json 'near(text["perplexity"], math.exp(text["loss"]))'
is one.json 'near(text["bits_per_byte"], text["loss"] * text["tokens"] / text["bytes"] / math.log(2))'
is one.json 'choices["questions"] == 23 and choices["tokens"] > 23 * 8 and 0 <= choices["accuracy"] <= 1'
for line in '^text  *corpus, validation, as bytes$' '^loss  *[0-9.]* nats/token$' '^perplexity ' '^bits/byte ' '^accuracy '; do
  grep -q "$line" stdout || wrong "no $line in: $(<stdout)"
done

# The same on any number of ranks, as JSON alone on stdout, and of the file itself.
same=("$mumoe" eval --run run --choices questions.jsonl --data tokens --json)
quiet "${same[@]}" -
cmp -s stdout one.json || wrong "--json -: $(<stdout)"
for ranks in 2 3 4; do
  quiet "$mpirun" -n $ranks "${same[@]}" $ranks.json
  cmp -s one.json $ranks.json || wrong "$ranks ranks: $(diff one.json $ranks.json)"
done
for plan in sequence bottleneck; do
  quiet "$mpirun" -n 2 "${same[@]}" tp.json --parallel.tp 2 --parallel.plan $plan
  is tp.json "near(text['loss'], $(python3 -c 'import json; print(json.load(open("one.json"))["text"]["loss"])'), 1e-5)"
  is tp.json "near(choices['loss'], $(python3 -c 'import json; print(json.load(open("one.json"))["choices"]["loss"])'), 1e-5)"
done
quiet "$mumoe" eval --run run --data tokens/val.bin --json file.json
quiet "$mumoe" eval --run run --json own.json
is file.json "text['loss'] == $(python3 -c 'import json; print(json.load(open("own.json"))["text"]["loss"])')"

# What does not fit.
eval=("$mumoe" eval --run run)
refused "no run" "mumoe eval: --run FOLDER is missing" "$mumoe" eval
refused "no such run" "nowhere: holds no checkpoint" "$mumoe" eval --run nowhere
refused "no such source" "nowhere" "${eval[@]}" --data nowhere
refused "no such source, two ranks" "nowhere" "$mpirun" -n 2 "${eval[@]}" --data nowhere
refused "no windows" "--windows 0: expected a whole number, 1 or more" "${eval[@]}" --windows 0
refused "words for windows" "--windows some: expected" "${eval[@]}" --windows some
: >empty.bin
refused "an empty file" "empty.bin" "${eval[@]}" --data empty.bin
printf '\1\0\2\0\3\0' >short.bin
refused "shorter than the context" "short.bin: 3 tokens with context 16: expected at least 17 tokens" "${eval[@]}" --data short.bin
for ((i = 0; i < 40; i++)); do printf '\x2c\x01'; done >wide.bin
refused "another vocabulary" "wide.bin: token 300 at position 0; expected tokens below 256" "${eval[@]}" --data wide.bin
refused "no such questions" "nowhere.jsonl" "${eval[@]}" --choices nowhere.jsonl
sed '5s/"label"/"labl"/' questions.jsonl >broken.jsonl
refused "a broken line" "broken.jsonl:5: no label" "${eval[@]}" --choices broken.jsonl
refused "a broken line, two ranks" "broken.jsonl:5: no label" "$mpirun" -n 2 "${eval[@]}" --choices broken.jsonl
sed '7s/a truth/a truth that is longer than the context/' questions.jsonl >long.jsonl
refused "a long ending" "long.jsonl:7: an ending of 41 tokens; expected at most the context of the model, 16" \
  "${eval[@]}" --choices long.jsonl
refused "no place for the JSON" "nowhere/x.json" "${eval[@]}" --json nowhere/x.json
refused "a layout that cannot be" "parallel.dp = 3" "${eval[@]}" --parallel.dp 3
refused "a key of training" "unknown key train.steps; it is one of mumoe train" "${eval[@]}" --train.steps 3
refused "no ranks" "parallel.backend = null computes nothing" "${eval[@]}" --parallel.backend null

end
