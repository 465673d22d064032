#!/usr/bin/env bash
# study_runs_test.sh MUMOE: mumoe study edit, domains, svd, ranks and cost: an edited run is a run, two ranks find what one
# does, to the last digit; what does not fit is one line and exit code 2, with nothing left.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
here=$(dirname "$(realpath "$0")")
# shellcheck source-path=SCRIPTDIR
source "$here/tiny_model.sh" 2 16
mkdir other
for ((i = 10; i < 32; i++)); do
  for ((j = 0; j < 12; j++)); do echo "return ($i + $j) * x_$((i * j)); // {$j}"; done >other/$i.txt
done
sed -i 's/^source = .*/source = corpus=1,other=1/' tiny.cfg
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 4
warmup = 1
[train]
steps = 4
batch = 8
eval_windows = 9
precision = fp32
gemm = mkl
CONFIG
quiet "$mumoe" train --config tiny.cfg --train.out run
quiet "$mumoe" train --config tiny.cfg --model.mlp dense --train.out dense
before=$(sha256sum run/checkpoints/*/* run/config.cfg)

# same NAME WORD...: mumoe study WORD... finds the same on one rank and on two; leaves NAME.json.
same() {
  quiet "$mumoe" study "${@:2}" --json "$1.json" --out "$1.page"
  quiet "$mpirun" -n 2 "$mumoe" study "${@:2}" --json two.json
  cmp -s "$1.json" two.json || wrong "$1: two ranks differ"
  [[ -s $1.page/report.html ]] || wrong "$1: no page"
}
# is FILE EXPRESSION: in Python, with `found` what is in FILE.
is() { python3 -c "import json; found = json.load(open('$1')); assert $2" 2>/dev/null || wrong "$1: expected $2: $(<"$1")"; }

# An edited run is one that eval, sample, study and train take.
edit=("$mumoe" study edit --run run --gate h.1.mlp)
quiet "${edit[@]}" --remove 3,1 --scale 0=0.5 --to edited
grep -q '^edit  h.1.mlp: 2 of 6 experts removed, 1 scaled$' stdout || wrong "edit: $(<stdout)"
is edited/provenance.json 'found["edit"]["remove"] == [3, 1] and found["weights_from"] == "run"'
quiet "$mumoe" eval --run run --windows 9 --json a.json
quiet "$mumoe" eval --run edited --windows 9 --json b.json
quiet "$mpirun" -n 2 "$mumoe" eval --run edited --windows 9 --parallel.tp 2 --json c.json
python3 - <<'PYTHON' || wrong "losses of an edited run"
import json
a, b, c = (json.load(open(f + ".json"))["text"]["loss"] for f in "abc")
assert a != b and abs(b - c) < 1e-5 * b, (a, b, c)
PYTHON
quiet "$mumoe" sample --run edited --prompt we --tokens 4
quiet "$mumoe" train --config edited/config.cfg --train.from edited --train.out after --train.steps 1
# Half and half again is a quarter; all kept is what it was.
quiet "${edit[@]}" --keep 0,1,2,3,4,5 --to whole
quiet "$mumoe" eval --run whole --windows 9 --json c.json
python3 -c 'import json; a, c = (json.load(open(f + ".json"))["text"]["loss"] for f in "ac"); assert a == c' || wrong "all kept"
[[ $before == "$(sha256sum run/checkpoints/*/* run/config.cfg)" ]] || wrong "the run that was edited has changed"

refused exists "edited: is there already" "${edit[@]}" --remove 1 --to edited
refused range "--remove 6: expected an expert from 0 to 5" "${edit[@]}" --remove 6 --to new
refused words "--scale 1: expected EXPERT=NUMBER" "${edit[@]}" --scale 1 --to new
refused nothing "nothing is edited" "${edit[@]}" --to new
refused gate "several gates of run; expected one of h.0.mlp, h.1.mlp" "$mumoe" study edit --run run --remove 1 --to new
refused dense "dense: its model has no experts" "$mumoe" study edit --run dense --remove 1 --to new
echo '[1, 2, 3, 4, 5, 6]' >v.json
refused shift "--shift: h.1.mlp is no head" "${edit[@]}" --shift 1=2 --direction v.json --to new
refused direction "--shift: expected a direction" "${edit[@]}" --shift 1=2 --to new
[[ ! -e new ]] || wrong "something is left of an edit that was refused"

# A head whose logits are shifted by routing: another rank, the same samples, and the first class more often the answer.
python3 "$here/features.py" features
cat >head.cfg <<'CONFIG'
[model]
family = head
head = cp
experts = 5
rank = 4
[data]
source = features
[train]
steps = 6
batch = 24
precision = fp32
gemm = mkl
CONFIG
quiet "$mumoe" train --config head.cfg --train.out head
quiet "$mpirun" -n 2 "$mumoe" study edit --run head --shift 0=100 --of-class 0 --to shifted
grep -q 'class 0 shifted by 100$' stdout || wrong "shift: $(<stdout)"
grep -q '^rank = 5$' shifted/config.cfg || wrong "shift: $(grep rank shifted/config.cfg)"
is shifted/provenance.json 'len(found["edit"]["direction"]) == 5 and abs(sum(found["edit"]["direction"]) - 1) < 1e-6'
quiet "$mumoe" eval --run shifted --json shifted.json
is shifted.json '[c["right"] for c in found["images"]["classes"]] == [20, 0, 0, 0, 0, 0]'
refused class "--of-class 9: expected a class from 0 to 5" "$mumoe" study edit --run head --shift 0=1 --of-class 9 --to new

same domains domains --run run --dense dense --samples 64 --draws 20
is domains.json 'found["sources"] == ["corpus", "other"] and found["windows"] == 64 and len(found["gates"]) == 2'
is domains.json 'all(g["shuffled_nats"] < g["oracle_nats"] for g in found["gates"]) and found["chance"] == 0.5'
is domains.json 'found["dense"]["classifier_of_all"]["features"] == found["classifier_of_all"]["features"] == 12'
is domains.json 'found["dense"]["classifier_of_all"]["accuracy"] > 0.8'
refused source "data.source = corpus is one source" "$mumoe" study domains --run run --data corpus
refused without "dense: its model has no experts" "$mumoe" study domains --run dense

same svd svd --run dense --samples 40 --percent 10,100 --each 10
is svd.json 'len(found["points"]) == 2 and len(found["each"]) == 8 and found["points"][0]["loss"] != found["points"][1]["loss"]'
refused matrices "--matrices factors: the model of dense has none" "$mumoe" study svd --run dense --matrices factors
refused out "--out v.json: is no folder" "$mumoe" study ranks --out v.json
refused percent "--percent 120" "$mumoe" study svd --run dense --percent 120

quiet "$mumoe" study ranks --json ranks.json --out ranks.page
is ranks.json 'found["counts"][2]["cp"]["ranks"] == [393] and found["counts"][2]["tr"]["parameters"] == 771928'
refused budget "expected fewer than the budget" "$mumoe" study ranks --experts 2000
quiet "$mumoe" study cost --inputs 64 --outputs 64 --experts 8 --repeats 3 --json cost.json --out cost.page
is cost.json '[l["layer"] for l in found["layers"]] == ["linear", "dense MoE", "sparse MoE", "tr", "cp"]'
refused active "--active 9: expected at most --experts 8" "$mumoe" study cost --experts 8 --active 9
end
