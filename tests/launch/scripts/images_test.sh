#!/usr/bin/env bash
# images_test.sh MUMOE: images by name, and of CelebA's form, as a user meets them.
set -euo pipefail

mumoe=$(realpath "$1")
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$(realpath "$0")")/common.sh"

# told NAME TEXT COMMAND...: done, and TEXT is in what it printed.
told() {
  local name=$1 text=$2
  timeout -k 5 60 "${@:3}" >stdout 2>stderr </dev/null || wrong "$name: exit code $?: $(<stderr)"
  grep -qF -- "$text" stdout || wrong "$name: expected '$text' in: $(<stdout)"
}

# By their names alone, whatever the model.
told glyphs "glyphs: 25420 training images of 28 x 28, 1 channel, 62 classes, 8680 for validation" \
  "$mumoe" data --data.source glyphs
told fashion "fashion-mnist: 60000 training images of 28 x 28, 1 channel, 10 classes" \
  "$mumoe" data --data.source fashion-mnist
refused "no attributes" "data.target = Bold: glyphs has no attributes" \
  "$mumoe" data --data.source glyphs --data.target Bold

# A model that learns them takes their shape.
cat >tiny.cfg <<'CFG'
[model]
family = mixer
mlp = cp
experts = 4
rank = 4
width = 16
depth = 1
patch = 7
hidden = 16
token_hidden = 8
[data]
source = glyphs
[train]
steps = 2
batch = 8
out = none
CFG
quiet "$mumoe" train --config tiny.cfg
grep -q "62 classes" stdout || wrong "train: expected 62 classes in: $(<stdout)"
refused "a name that is nearly one" "did you mean glyphs?" "$mumoe" data --config tiny.cfg --data.source glyhps

# CelebA's form, of pictures that there are.
mkdir -p celeba/img_align_celeba
python3 - <<'PY'
import struct, zlib
def png(value):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = (b'\0' + bytes([value] * 3 * 178)) * 218
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 178, 218, 8, 2, 0, 0, 0)) + \
        chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
attributes, parts = ['8', 'Blond_Hair Male Young'], []
for i in range(8):
    name = f'{i + 1:06}.jpg'
    open('celeba/img_align_celeba/' + name, 'wb').write(png(30 * i))
    attributes.append(f'{name} {-1 if i % 2 else 1} {-1 if i % 3 else 1} -1')
    parts.append(f'{name} {0 if i < 4 else 1 if i < 6 else 2}')
open('celeba/list_attr_celeba.txt', 'w').write('\n'.join(attributes) + '\n')
open('celeba/list_eval_partition.txt', 'w').write('\n'.join(parts) + '\n')
PY
sed -i 's/^patch = 7/&\nimage_size = 28/' tiny.cfg
celeba=(--config tiny.cfg --data.source celeba --data.target)
told celeba "celeba: 4 training images of 28 x 28, 3 channels, 2 classes, 2 for validation, 2 for the test, 3 attributes" \
  "$mumoe" data "${celeba[@]}" Male
quiet "$mumoe" train "${celeba[@]}" Blond_Hair --train.batch 4
refused "no such attribute" "data.target = Malee: no such attribute (did you mean Male?); expected one of Blond_Hair, Male, Young" \
  "$mumoe" train "${celeba[@]}" Malee --train.batch 4
refused "no attribute" "data.target = class: no such attribute" "$mumoe" data --config tiny.cfg --data.source celeba
rm celeba/img_align_celeba/000003.jpg
refused "a missing image" "celeba/img_align_celeba/000003.jpg: missing" "$mumoe" data "${celeba[@]}" Male

end
