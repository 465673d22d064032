#!/usr/bin/env bash
# text_test.sh MUMOE: text that users and file systems come up with. Any name of a folder works; what was run can be run
# again from its config.cfg; files that are not what they should be are one line and exit code 2.
set -euo pipefail

mumoe=$(realpath "$1")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 4
warmup = 1
[train]
steps = 2
batch = 4
eval_windows = 4
precision = fp32
gemm = mkl
CONFIG

# Folders of any name, for everything that has one; each run goes on by its own config.cfg.
number=0
for name in 'set#2' 'set #2' ' [x] = "y"; \ ' "'single'" $'latin \xe9 caf\xc3\xa9' $'two\nlines\t\r\x1b' '--x'; do
  number=$((number + 1))
  mv corpus "./$name"
  out=run$number-$name
  quiet "$mumoe" train --config tiny.cfg --data.source "$name" --train.out "$out" --log.trace "$out.trace"
  python3 -c 'import json, sys; [json.load(open(name)) for name in sys.argv[1:]]' "$out/provenance.json" "./$out.trace" ||
    wrong "$name: provenance.json or the trace is not JSON"
  quiet "$mumoe" train --config "$out/config.cfg" --train.steps 4 --train.resume
  [[ $(wc -l <"$out/metrics.jsonl") == 4 ]] || wrong "$name: $(wc -l <"$out/metrics.jsonl") steps, expected 4"
  cp "$out/config.cfg" written.cfg
  "$mumoe" train --config written.cfg --print-config >printed.cfg
  quiet "$mumoe" train --config printed.cfg --print-config
  sed 's/ # written.cfg$/ # printed.cfg/' printed.cfg | cmp - stdout || wrong "$name: --print-config does not read back"
  quiet "$mumoe" sample --run "$out" --prompt "$name" --tokens 2
  mv "./$name" corpus
done

# As users wrote them, without quotes.
mv corpus 'set#2'
sed 's/^source = .*/source = set#2  # the second/' tiny.cfg >hash.cfg
quiet "$mumoe" train --config hash.cfg
grep -q '^data     set#2 as bytes' stdout || wrong "set#2: $(grep ^data stdout)"
mv 'set#2' corpus
sed 's/^source = .*/source = set #2/' tiny.cfg >hash.cfg
refused "a comment or not" 'hash.cfg:9: data.source = set #2' "$mumoe" train --config hash.cfg
mkfifo pipe
refused "a pipe" "pipe: cannot read: Not a regular file" "$mumoe" train --config pipe

# Files of a run that something else has written to.
train=("$mumoe" train --config tiny.cfg)
quiet "${train[@]}" --train.out whole
spoilt() {  # spoilt FILE: of a new copy of the run
  rm -rf out
  cp -r whole out
  spoils=out/$1
}
resumed=("${train[@]}" --train.out out --train.resume --train.steps 3)
for line in '{"step":"7"}' '{"step":1.5}' '{"step":null}' '{"step":1e300}' '[]' '{"step":1' 'x'; do
  spoilt metrics.jsonl
  sed -i "1s/.*/$line/" "$spoils"
  before=$(cat out/config.cfg out/metrics.jsonl out/provenance.json | cksum)
  refused "metrics $line" "out/metrics.jsonl:1" "${resumed[@]}"
  [[ $(cat out/config.cfg out/metrics.jsonl out/provenance.json | cksum) == "$before" ]] ||
    wrong "metrics $line: a refused run changed the folder"
done
state=checkpoints/step_00000002
for change in 's/"step":2/"step":3/' 's/"samples":8/"samples":-8/' 's/"settings":{/"settings":[/' 's/"offset":[0-9]*/"offset":9/' \
  's/"dtype":"F32"/"dtype":"F99"/' 's/"format":/"format" /' 's/mumoe-checkpoint-2/mumoe-checkpoint-9/' 's/.*//'; do
  spoilt $state/manifest.json
  LC_ALL=C sed -i "1$change" "$spoils"
  if cmp -s whole/$state/manifest.json "$spoils"; then wrong "$change: changed nothing"; fi
  refused "state $change" "manifest.json" "${resumed[@]}"
done
refused "state, sample" "manifest.json" "$mumoe" sample --run out
for text in '' '[model' $'[model]\ndepth = 1\ndepth = 1' $'\xff\xfe[\x01' '{"model": 1}'; do
  spoilt config.cfg
  printf '%s' "$text" >"$spoils"
  refused "config.cfg of '$text'" "out/config.cfg" "$mumoe" sample --run out
done
spoilt config.cfg
head -c 500 /bin/ls >"$spoils"
refused "a program as config.cfg" "out/config.cfg:1: a zero byte" "$mumoe" sample --run out

# Numbers are exact, and refused by option, value and range.
drawn() { "$mumoe" sample --run whole --tokens 40 --temperature 9 --seed "$1" | cksum; }
[[ $(drawn 9007199254740992) != "$(drawn 9007199254740993)" ]] || wrong "2^53 and 2^53 + 1 are one seed"
[[ $(drawn 18446744073709551614) != "$(drawn 18446744073709551615)" ]] || wrong "2^64 - 2 and 2^64 - 1 are one seed"
for value in -1 1e3 18446744073709551616 ''; do
  refused "seed $value" "--seed $value: expected a whole number, 0 to 18446744073709551615" \
    "$mumoe" sample --run whole --seed "$value"
done
refused "train.seed" "train.seed = -1: expected a whole number, 0 to 18446744073709551615" "${train[@]}" --train.seed -1
refused "tokens" "--tokens -1: expected a whole number, 0 or more" "$mumoe" sample --run whole --tokens -1
refused "top-k" "--top-k 1.5: expected a whole number, 0 or more" "$mumoe" sample --run whole --top-k 1.5
for value in nan -1; do
  refused "temperature $value" "--temperature $value: expected a finite number, 0" \
    "$mumoe" sample --run whole --temperature $value
done
refused "batch" "train.batch = 9223372036854775807: expected at most 2147483647" \
  "${train[@]}" --train.batch 9223372036854775807
refused "rounds" "--rounds 1e3: expected a whole number, 1 to" "$mumoe" bench layer --rounds 1e3
refused "rounds of collectives" "--rounds 99999999999: expected a whole number, 1 to" "$mumoe" bench comm --rounds 99999999999

end
