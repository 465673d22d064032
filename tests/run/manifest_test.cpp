// The manifest of a checkpoint: what was written comes back, and nothing else
// is taken for it.
#include "run/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using nlohmann::json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr const char* kWhere = "runs/a/manifest.json";

StoredPiece piece(std::size_t file,
                  std::int64_t offset,
                  std::vector<std::int64_t> begin,
                  std::vector<std::int64_t> extent,
                  std::int64_t first,
                  std::int64_t count) {
  return {file, offset, std::move(begin), std::move(extent), first, count};
}

/// Two files; tensors that are cut by rows, by places, and not at all.
Manifest example() {
  Manifest manifest;
  manifest.state = {.step = 12,
                    .samples = 345,
                    .settings = {{"model.width", "16"}, {"a\"b\n", "\x7f é"}},
                    .mixing = MixingState{0.25, 0.5},
                    .taken = TakenSamples{~std::uint64_t{0}, 1},
                    .spikes = SpikeHistory{{1.5, 1e-10}, {0.1, 3}},
                    .skipped = 2};
  manifest.mesh = {2, 1};
  manifest.files = {
      {"rank_00000.safetensors", 200, {hash_of("a")}},
      {"rank_00001.safetensors", kBlockBytes + 1, {hash_of("b"), hash_of("")}}};
  auto& tensors = manifest.tensors;
  tensors["master.rows"] = {{4, 3},
                            at::kFloat,
                            {piece(0, 100, {0, 0}, {2, 3}, 0, 6),
                             piece(1, 100, {2, 0}, {2, 3}, 0, 6)}};
  tensors["master.flat"] = {
      {7},
      at::kBFloat16,
      {piece(0, 124, {0}, {7}, 0, 4), piece(1, 124, {0}, {7}, 4, 3)}};
  tensors["master.one"] = {{}, at::kDouble, {piece(0, 132, {}, {}, 0, 1)}};
  tensors["master.empty"] = {{0, 3}, at::kFloat, {}};
  return manifest;
}

/// What `parse_manifest` refuses `text` with; empty: it does not.
std::string refusal(const std::string& text) {
  try {
    parse_manifest(text, kWhere);
    return {};
  } catch (const DamageError& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.starts_with(kWhere)) << what;
    EXPECT_EQ(what.find('\n'), what.npos) << what;
    return what;
  }
}

/// With a checksum that is right.
std::string sealed(json all) {
  all.erase("xxh128");
  all["xxh128"] = hash_of(to_text(all));
  return to_text(all);
}

json example_json() {
  return parse_json(manifest_text(example()), kWhere);
}

TEST(Manifest, WhatWasWrittenComesBack) {
  const Manifest written = example();
  const std::string text = manifest_text(written);
  const Manifest read = parse_manifest(text, kWhere);
  EXPECT_EQ(read.state, written.state);
  EXPECT_EQ(read.mesh.dp, 2);
  EXPECT_EQ(read.mesh.tp, 1);
  EXPECT_EQ(read.files, written.files);
  EXPECT_EQ(read.tensors.size(), written.tensors.size());
  EXPECT_EQ(read.tensors.at("master.rows").pieces[1].begin,
            (std::vector<std::int64_t>{2, 0}));
  EXPECT_EQ(read.tensors.at("master.flat").dtype, at::kBFloat16);
  EXPECT_EQ(manifest_text(read), text);
  EXPECT_EQ(refusal(sealed(example_json())), "");

  // On disk.
  const testing::ScratchFolder folder;
  folder.write(std::string("c/") + kManifest, text);
  EXPECT_EQ(read_run_state(folder.path() / "c"), written.state);
  EXPECT_THROW(read_manifest(folder.path() / "none"), DamageError);
}

TEST(Manifest, OfItsPartsIsWhatRanksWrote) {
  const Manifest written = example();
  Manifest whole;
  whole.state = written.state;
  whole.mesh = written.mesh;
  for (std::size_t f = 0; f < 2; ++f) {
    std::map<std::string, StoredTensor> part;
    for (const auto& [name, tensor] : written.tensors) {
      StoredTensor here{tensor.shape, tensor.dtype};
      for (StoredPiece each : tensor.pieces) {
        if (each.file != f) continue;
        each.file = 0;  // a rank knows of none but its own
        here.pieces.push_back(std::move(each));
      }
      if (!here.pieces.empty() || f == 0) part[name] = std::move(here);
    }
    add_part(whole, tensors_to_text(part, written.files[f]));
  }
  EXPECT_EQ(manifest_text(whole), manifest_text(written));
}

// A bit that leaves the meaning as it was, an e that becomes an E, may pass.
TEST(Manifest, AnyFlippedBitIsFound) {
  const std::string text = manifest_text(example());
  std::size_t passed = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      if (!refusal(damaged).empty()) continue;
      ++passed;
      EXPECT_EQ(manifest_text(parse_manifest(damaged, kWhere)), text)
          << "byte " << i << " bit " << bit;
    }
  }
  EXPECT_LE(passed, 2u);
}

TEST(Manifest, AnyShorterTextIsFound) {
  const std::string text = manifest_text(example());
  for (std::size_t length = 0; length + 1 < text.size(); ++length) {
    EXPECT_NE(refusal(text.substr(0, length)), "") << length;
  }
  EXPECT_NE(refusal(text + text), "");
  EXPECT_NE(refusal(text + "}"), "");
}

/// Changes the example, whose checksum is right, and how that is refused.
struct Corruption {
  const char* name;
  std::function<void(Manifest&)> change;
  std::vector<std::string> parts;
};

StoredPiece& rows(Manifest& m, std::size_t index) {
  return m.tensors["master.rows"].pieces[index];
}
StoredPiece& flat(Manifest& m, std::size_t index) {
  return m.tensors["master.flat"].pieces[index];
}

const std::vector<Corruption>& corruptions() {
  static const std::vector<Corruption> all = {
      {"parts that overlap",
       [](Manifest& m) {
         rows(m, 1).begin = {1, 0};
       },
       {"master.rows", "overlap"}},
      {"the same part twice",
       [](Manifest& m) {
         rows(m, 1).begin = {0, 0};
       },
       {"master.rows", "overlap"}},
      {"places that overlap",
       [](Manifest& m) { flat(m, 1).first = 3; },
       {"master.flat", "overlap"}},
      {"places behind the part",
       [](Manifest& m) { flat(m, 1).first = 5; },
       {"master.flat", "outside its shape"}},
      {"a part behind the shape",
       [](Manifest& m) {
         rows(m, 1).begin = {3, 0};
       },
       {"master.rows", "outside its shape"}},
      {"a part of fewer dims",
       [](Manifest& m) { rows(m, 1).begin = {2}; },
       {"master.rows", "outside its shape"}},
      {"a part of more dims",
       [](Manifest& m) {
         rows(m, 1).extent = {2, 3, 1};
       },
       {"master.rows", "outside its shape"}},
      {"an element too few",
       [](Manifest& m) { flat(m, 1).count = 2; },
       {"master.flat", "not all of it"}},
      {"a piece too few",
       [](Manifest& m) { m.tensors["master.rows"].pieces.pop_back(); },
       {"master.rows", "not all of it"}},
      {"no piece",
       [](Manifest& m) { m.tensors["master.one"].pieces.clear(); },
       {"master.one", "not all of it"}},
      {"elements where there are none",
       [](Manifest& m) {
         m.tensors["master.empty"].pieces = {piece(0, 0, {0, 0}, {0, 3}, 0, 1)};
       },
       {"master.empty", "outside its shape"}},
      {"a place behind the file",
       [](Manifest& m) { rows(m, 0).offset = 177; },
       {"master.rows", "outside its file"}},
      {"an offset of 2^63 - 1",
       [](Manifest& m) { rows(m, 0).offset = kMost; },
       {"master.rows", "outside its file"}},
      {"no such file",
       [](Manifest& m) { rows(m, 0).file = 2; },
       {"master.rows", "outside its file"}},
      {"file 2^63 - 1",
       [](Manifest& m) { rows(m, 0).file = kMost; },
       {"master.rows", "outside its file"}},
      {"tensors upon each other",
       [](Manifest& m) { flat(m, 0).offset = 122; },
       {"master.rows", "master.flat", "upon each other", "rank_00000"}},
      {"a shape beyond all memory",
       [](Manifest& m) {
         m.tensors["master.rows"].shape = {kMost, 3};
       },
       {"master.rows", "more than there can be"}},
      {"as many bytes as there cannot be",
       [](Manifest& m) { m.tensors["master.flat"].shape = {kMost / 2 + 1}; },
       {"master.flat", "more than there can be"}},
      {"a shape that the pieces are not",
       [](Manifest& m) { m.tensors["master.flat"].shape = {kMost / 4}; },
       {"master.flat", "not all of it"}},
      {"an extent of 2^63 - 1",
       [](Manifest& m) {
         rows(m, 0).extent = {kMost, kMost};
       },
       {"master.rows", "outside its shape"}},
      {"a begin of 2^63 - 1",
       [](Manifest& m) {
         rows(m, 1).begin = {kMost, 0};
       },
       {"master.rows", "outside its shape"}},
      {"first and count of 2^63 - 1",
       [](Manifest& m) { flat(m, 0).first = flat(m, 0).count = kMost; },
       {"master.flat", "outside its shape"}},
      {"more pieces than 2^63 elements",
       [](Manifest& m) {
         auto& tensor = m.tensors["master.flat"];
         const std::int64_t all = kMost / 2;
         tensor.shape = {all};
         tensor.pieces.assign(3, piece(0, 0, {0}, {all}, 0, all));
       },
       {"master.flat", "more than it has"}},
      {"a checksum too few",
       [](Manifest& m) { m.files[1].blocks.pop_back(); },
       {"checksum for each block"}},
      {"a file of 2^63 - 1 bytes",
       [](Manifest& m) { m.files[1].bytes = kMost; },
       {"checksum for each block"}},
      {"no ranks", [](Manifest& m) { m.mesh.tp = 0; }, {"mesh"}}};
  return all;
}

TEST(Manifest, WhatDoesNotFitTogetherIsNamed) {
  for (const Corruption& corruption : corruptions()) {
    SCOPED_TRACE(corruption.name);
    Manifest manifest = example();
    corruption.change(manifest);
    const std::string text = refusal(manifest_text(manifest));
    for (const std::string& part : corruption.parts) {
      EXPECT_NE(text.find(part), text.npos) << part << " is not in: " << text;
    }
  }
}

TEST(Manifest, NamesOfFilesLeadNowhereElse) {
  for (const std::string& name : {std::string("../rank_00000.safetensors"),
                                  std::string("/etc/passwd"),
                                  std::string("a/b"),
                                  std::string(""),
                                  std::string("."),
                                  std::string(".."),
                                  std::string("a\0b", 3)}) {
    Manifest manifest = example();
    manifest.files[0].name = name;
    const std::string text = refusal(manifest_text(manifest));
    EXPECT_NE(text.find("plain name"), text.npos) << name << ": " << text;
  }
}

TEST(Manifest, OtherFormatsAreRefusedByName) {
  for (const json& format : {json("mumoe-checkpoint-3"), json(2), json()}) {
    json all = example_json();
    all["format"] = format;
    EXPECT_NE(refusal(sealed(all)).find("format"), std::string::npos) << format;
  }
  json all = example_json();
  all["block_bytes"] = 4096;
  EXPECT_NE(refusal(sealed(all)).find("4 MiB"), std::string::npos);
  for (const char* text : {"", "[]", "null", "7", "{}", "\"manifest\""}) {
    EXPECT_NE(refusal(text), "") << text;
  }
}

// Beside `DamageError` nothing is thrown, whatever stands where.
TEST(Manifest, ValuesOfAnotherKindAreRefused) {
  const json flat = example_json().flatten();
  const json others[] = {nullptr,
                         -1,
                         1.5,
                         1e300,
                         "x",
                         json::array(),
                         json::object(),
                         true,
                         std::numeric_limits<std::uint64_t>::max()};
  std::size_t refused = 0, tried = 0;
  for (const auto& [path, value] : flat.items()) {
    for (json::json_pointer at(path); !at.empty(); at.pop_back()) {
      for (const json& other : others) {
        json all = example_json();
        all[at] = other;
        ++tried;
        refused += !refusal(sealed(all)).empty();
      }
      json all = example_json();
      json& parent = all[at.parent_pointer()];
      if (parent.is_object()) {
        parent.erase(at.back());
      } else {
        parent.erase(std::stoul(at.back()));
      }
      ++tried;
      refused += !refusal(sealed(all)).empty();
    }
  }
  // Texts of settings, checksums and numbers of a run may be others.
  EXPECT_GT(refused, tried * 8 / 10);
}

}  // namespace
}  // namespace mumoe::run
