#!/usr/bin/env bash
# experts_test.sh MUMOE: mumoe study experts finds the same on any number of ranks, and a real browser shows its page, moves
# about in it by keys and asks nobody for anything; what does not fit is one line and exit code 2.
set -euo pipefail

mumoe=$(realpath "$1")
mpirun=$(realpath "$(dirname "$0")/../../../launch/mpirun")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
cat >>tiny.cfg <<'CONFIG'
[schedule]
steps = 3
warmup = 1
[optimizer]
lr = 0.02
[train]
steps = 3
batch = 4
eval_every = 0
eval_windows = 2
precision = fp32
gemm = mkl
CONFIG
quiet "$mumoe" train --config tiny.cfg --train.out tree --model.experts 4,3 --model.level_noise 0.5
quiet "$mumoe" train --config tiny.cfg --train.out plain
quiet "$mumoe" train --config tiny.cfg --train.out dense --model.mlp dense

# ---- The same of one rank and of two.
study=("$mumoe" study experts --run tree --threshold 0.1 --per-expert 3 --samples 21 --removal 5 --other plain
       --prompt 'Speech </script> 10' --prompt 'of these truths')
quiet "${study[@]}" --out one --json one.json --delphi cache1
for word in h.0.mlp token 'page: one/experts.html'; do grep -q "$word" stdout || wrong "no $word in: $(<stdout)"; done
quiet "$mpirun" -n 2 "${study[@]}" --out two --json - --delphi cache2
cmp one.json stdout || wrong "other figures on two ranks"
cmp one/experts.html two/experts.html || wrong "another page on two ranks"
diff -r cache1 cache2 || wrong "other activations on two ranks"

cat >is.py <<'PYTHON'
import json, sys
found = json.load(open("one.json"))
corpus = "".join(open("corpus/%d.txt" % i).read() for i in range(10, 32))
gates = found["gates"]
assert [g["gate"] for g in gates] == ["h.0.mlp level 0", "h.0.mlp level 1"], gates
assert [len(g["experts"]) for g in gates] == [4, 3]
for gate in gates:
    assert gate["unit"] == "token" and gate["tokens"] == 21 * 16
    for expert in gate["experts"]:
        top = [e["coefficient"] for e in expert["top"]]
        assert top == sorted(top, reverse=True) and len(top) == 3
        assert all(e["coefficient"] >= 0.1 for e in expert["drawn"])
        assert len(expert["promoted"]) == 10
        assert abs(expert["score_without"]) < 10 and expert["score_without"] != gate["score"]
        for e in expert["top"] + expert["drawn"]:
            assert e["before"] + e["text"] + e["after"] in corpus.replace("Speech 10", "\0Speech 10") or "\0" in str(e), e
tree = found["trees"][0]["mean_product"]
assert len(tree) == 12 and abs(sum(tree) - 1) < 1e-6, tree
assert [s["title"] for s in found["shown"]][:2] == ["prompt 1", "prompt 2"] and len(found["shown"]) == 6
assert found["other"]["run"] == "plain" and len(found["other"]["gates"]) == 1
PYTHON
python3 is.py || wrong "one.json: $(head -c 3000 one.json)"

# ---- In a browser: `look PAGE#PLACE`, its document in dom, what it asked the network for in asked.
browser=$(command -v chromium-headless-shell || command -v chromium || true)
[[ $browser ]] || wrong "no chromium-headless-shell: run launch/setup --tests"
look() {
  timeout -k 5 30 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --log-net-log=net.json \
    --virtual-time-budget=2000 --dump-dom "file://$folder/$1" >dom 2>log || wrong "the browser: $(tail -n 3 log)"
  grep -oE '"url":"(https?|wss?|ftp):[^"]*' net.json | sort -u >asked || true
}
shows() { grep -qF -- "$1" dom || wrong "the page at $place shows no '$1', but $(grep -o '<h[12]>[^<]*' dom | paste -sd ' ')"; }
if [[ $browser ]]; then
  echo '<img src="http://127.0.0.1:9/seen">' >asks.html
  look asks.html
  grep -q seen asked || wrong "it is not seen that a page asks: $(<asked)"
  place=e/1/2
  look one/experts.html#$place
  for text in 'data-ready="' 'h.0.mlp level 1, expert 2' 'Tokens that it promotes' 'its removal costs' \
              'Branches of h.0.mlp level 0' 'Both runs' 'role="option"'; do
    shows "$text"
  done
  [[ ! -s asked ]] || wrong "it asks for $(<asked)"
  # Keys go to another view, another expert, another token.
  place=keys
  cat >script <<'SCRIPT'
    const key = (at, name) => at.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
    const said = [document.querySelector(".said").textContent];
    const cell = document.querySelector("[role=gridcell]");
    cell.focus();
    key(cell, "ArrowRight"); key(document.activeElement, "ArrowDown");
    said.push(document.querySelector(".said").textContent);
    document.querySelector("[role=tab][aria-selected=true]").focus();
    key(document.activeElement, "ArrowLeft");
    const option = document.querySelector("[role=option][aria-selected=true]");
    option.focus();
    key(option, "End");
    said.push(document.querySelector("main h2").textContent, location.hash);
    document.body.dataset.said = said.join(" | ");
SCRIPT
  { sed 's|</body>.*||' one/experts.html; echo "<script>$(<script)</script></body></html>"; } >keys.html
  look keys.html#p/0
  shows 'h.0.mlp level 0, token 0'
  shows '| h.0.mlp level 1, token 1'
  shows '| h.0.mlp level 0, expert 3  | #e/0/3'
  for place in t r; do
    look one/experts.html#$place
    if [[ $place == t ]]; then shows 'with what goes with each'; else shows 'plain, step 3'; fi
  done
fi

# ---- Bad input.
ask=("$mumoe" study experts --run)
refused "no run" "mumoe study experts: --run FOLDER is missing" "$mumoe" study experts
refused "no experts" "dense: its model has no experts" "${ask[@]}" dense
refused "nobody passes" "--threshold 1: no expert has such a coefficient at any token; the largest is" "${ask[@]}" plain --threshold 1
refused "no examples" "--per-expert 0" "${ask[@]}" plain --per-expert 0
refused "other without experts" "dense: its model has no experts" "${ask[@]}" plain --other dense --threshold 0.1
touch taken
refused "no folder" "--out taken: is no folder" "${ask[@]}" plain --threshold 0.1 --out taken
end
