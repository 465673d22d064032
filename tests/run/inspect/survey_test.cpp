// What a checkpoint on disk is like.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "mumoe/safetensors.h"
#include "run/checkpoint_survey.h"
#include "run/single_file.h"
#include "tests/run/inspect/made_checkpoint.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::flip;
using testing::kBig;
using testing::made_state;
using testing::made_tensors;
using testing::make_checkpoint;
using testing::ScratchFolder;
namespace fs = std::filesystem;

const SurveyedTensor& find(const CheckpointSurvey& survey,
                           const std::string& name) {
  const auto found =
      std::ranges::find(survey.tensors, name, &SurveyedTensor::name);
  if (found == survey.tensors.end()) throw InternalError("no tensor " + name);
  return *found;
}

const KindTotal& total_of(const CheckpointSurvey& survey,
                          const std::string& kind) {
  const auto found = std::ranges::find(survey.totals, kind, &KindTotal::kind);
  if (found == survey.totals.end()) throw InternalError("no kind " + kind);
  return *found;
}

/// That all tensors but `damaged` have the numbers that LibTorch finds.
void expect_facts(const CheckpointSurvey& survey,
                  const std::map<std::string, at::Tensor>& tensors,
                  const std::vector<std::string>& damaged = {}) {
  ASSERT_EQ(survey.tensors.size(), tensors.size());
  for (const auto& [name, whole] : tensors) {
    SCOPED_TRACE(name);
    const SurveyedTensor& found = find(survey, name);
    EXPECT_EQ(at::IntArrayRef(found.shape), whole.sizes());
    EXPECT_EQ(found.dtype, whole.scalar_type());
    EXPECT_EQ(found.bytes, static_cast<std::int64_t>(whole.nbytes()));
    EXPECT_EQ(found.elements, whole.numel());
    const bool lost = std::ranges::find(damaged, name) != damaged.end();
    EXPECT_EQ(found.damage.empty(), !lost) << found.damage;
    ASSERT_EQ(found.values.has_value(), !lost);
    if (lost) continue;
    const at::Tensor fp64 = whole.to(at::kDouble);
    const double norm = fp64.norm().item<double>();
    EXPECT_NEAR(found.values->norm(), norm, 1e-12 * norm);
    EXPECT_EQ(found.values->largest, fp64.abs().max().item<double>());
    EXPECT_EQ(found.values->non_finite, 0);
  }
}

TEST(CheckpointSurvey, SaysWhatIsThere) {
  const ScratchFolder folder;
  const auto tensors = made_tensors();
  const auto checkpoint = make_checkpoint(folder.path(), 12);
  const auto survey = survey_checkpoint(checkpoint, true);
  EXPECT_TRUE(survey.damage.empty());
  EXPECT_EQ(survey.format, 2);
  EXPECT_EQ(survey.mesh.dp, 1);
  EXPECT_EQ(survey.mesh.tp, 2);
  RunState state = made_state(0);
  state.step = 12;
  EXPECT_EQ(survey.state, state);
  expect_facts(survey, tensors);
  EXPECT_EQ(find(survey, "master.h.0.cut").pieces, 2);
  EXPECT_EQ(find(survey, "master.h.0.flat").files.size(), 2u);
  EXPECT_EQ(find(survey, "adam_m.wte").files,
            std::vector<std::string>{"rank_00001.safetensors"});
  ASSERT_EQ(survey.files.size(), 2u);
  EXPECT_EQ(survey.files[0].blocks, 1);
  EXPECT_EQ(survey.files[1].blocks, 4);
  EXPECT_EQ(survey.bytes(),
            static_cast<std::int64_t>(
                fs::file_size(checkpoint / "rank_00000.safetensors") +
                fs::file_size(checkpoint / "rank_00001.safetensors")));
}

TEST(CheckpointSurvey, CountsEachKind) {
  const ScratchFolder folder;
  const auto tensors = made_tensors();
  const auto survey =
      survey_checkpoint(make_checkpoint(folder.path(), 1), true);
  EXPECT_EQ(total_of(survey, "master").tensors, 4);
  EXPECT_EQ(total_of(survey, "buffers").tensors, 2);
  EXPECT_EQ(total_of(survey, "adam_m").tensors, 4);
  EXPECT_EQ(total_of(survey, "adam_v").elements, 34);
  EXPECT_EQ(survey.totals.front().kind, "master");
  EXPECT_EQ(survey.totals.back().kind, "buffers");
  double squares = 0;
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    squares += tensor.to(at::kDouble).square().sum().item<double>();
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  }
  const KindTotal all = survey.total();
  EXPECT_EQ(all.bytes, bytes);
  ASSERT_TRUE(all.values);
  EXPECT_NEAR(all.values->norm(),
              std::sqrt(squares),
              1e-12 * std::sqrt(squares));
}

TEST(CheckpointSurvey, CountsWhatIsNotFinite) {
  const ScratchFolder folder;
  auto tensors = made_tensors();
  tensors["master.h.0.cut"] = at::ones({4, 6});
  tensors["master.h.0.cut"][1][2] = std::numeric_limits<float>::quiet_NaN();
  tensors["master.h.0.cut"][3][5] = -std::numeric_limits<float>::infinity();
  const auto survey =
      survey_checkpoint(make_checkpoint(folder.path(), 1, tensors), true);
  const auto values = find(survey, "master.h.0.cut").values;
  ASSERT_TRUE(values);
  EXPECT_EQ(values->non_finite, 2);
  EXPECT_EQ(values->largest, 1);
  EXPECT_EQ(values->squares, 22);
  EXPECT_EQ(total_of(survey, "master").values->non_finite, 2);
}

TEST(CheckpointSurvey, NamesFileAndTensorAndGoesOnWithTheRest) {
  const ScratchFolder folder;
  const auto checkpoint = make_checkpoint(folder.path(), 1);
  const fs::path file = checkpoint / "rank_00001.safetensors";
  flip(file, 2 * kBlockBytes + 77);  // in the largest tensor alone
  const auto survey = survey_checkpoint(checkpoint, true);
  expect_facts(survey, made_tensors(), {"adam_m.wte"});
  ASSERT_EQ(survey.damage.size(), 1u);
  EXPECT_EQ(survey.damage[0],
            file.string() +
                ": bytes 8388608 to 12582912 are not those that were written; "
                "tensors: adam_m.wte");
  EXPECT_EQ(survey.files[0].damaged_blocks, 0);
  EXPECT_EQ(survey.files[1].damaged_blocks, 1);
  EXPECT_EQ(find(survey, "adam_m.wte").damage,
            "rank_00001.safetensors: bytes 8388608 to 12582912 are not those "
            "that were written");
  flip(file, kBlockBytes);
  EXPECT_EQ(survey_checkpoint(checkpoint, true).files[1].damaged_blocks, 2);
}

TEST(CheckpointSurvey, AHeaderIsDamagedAsWell) {
  const ScratchFolder folder;
  const auto checkpoint = make_checkpoint(folder.path(), 1);
  flip(checkpoint / "rank_00000.safetensors", 9);
  const auto survey = survey_checkpoint(checkpoint, true);
  // All of that file lies in its first block.
  ASSERT_EQ(survey.damage.size(), 1u);
  EXPECT_NE(survey.damage[0].find("adam_m.h.0.cut, adam_m.h.0.flat, "
                                  "adam_v.h.0.cut, adam_v.h.0.flat and 4 "
                                  "others"),
            std::string::npos)
      << survey.damage[0];
  EXPECT_TRUE(find(survey, "adam_m.wte").values);
}

TEST(CheckpointSurvey, AFileThatIsMissingOrCut) {
  const ScratchFolder folder;
  for (const bool verify : {true, false}) {
    const auto checkpoint = make_checkpoint(folder.path(), verify ? 1 : 2);
    fs::remove(checkpoint / "rank_00000.safetensors");
    fs::resize_file(checkpoint / "rank_00001.safetensors", 1000);
    const auto survey = survey_checkpoint(checkpoint, verify);
    ASSERT_EQ(survey.damage.size(), 2u);
    EXPECT_NE(survey.damage[0].find("rank_00000.safetensors: No such file"),
              std::string::npos)
        << survey.damage[0];
    EXPECT_NE(survey.damage[1].find("rank_00001.safetensors: 1000 bytes, of "),
              std::string::npos)
        << survey.damage[1];
    for (const auto& tensor : survey.tensors) {
      EXPECT_FALSE(tensor.damage.empty()) << tensor.name;
    }
  }
}

TEST(CheckpointSurvey, WithoutReadingIt) {
  const ScratchFolder folder;
  const auto checkpoint = make_checkpoint(folder.path(), 1);
  flip(checkpoint / "rank_00001.safetensors", kBlockBytes);
  const auto survey = survey_checkpoint(checkpoint, false);
  EXPECT_TRUE(survey.damage.empty());
  EXPECT_EQ(survey.tensors.size(), made_tensors().size());
  for (const auto& tensor : survey.tensors) EXPECT_FALSE(tensor.values);
  EXPECT_FALSE(survey.total().values);
}

TEST(CheckpointSurvey, AManifestThatIsDamaged) {
  const ScratchFolder folder;
  const auto checkpoint = make_checkpoint(folder.path(), 1);
  flip(checkpoint / kManifest, 40);
  std::ofstream(checkpoint / "notes.txt") << "somebody's own";
  const auto survey = survey_checkpoint(checkpoint, true);
  EXPECT_EQ(survey.format, 0);
  ASSERT_EQ(survey.damage.size(), 1u);
  EXPECT_NE(survey.damage[0].find(kManifest), std::string::npos);
  ASSERT_EQ(survey.files.size(), 3u);
  EXPECT_EQ(survey.files[0].name, kManifest);
  EXPECT_EQ(survey.files[2].name, "rank_00001.safetensors");
  EXPECT_GT(survey.files[2].bytes, 4 * kBig);
}

TEST(CheckpointSurvey, WhatParityKnowsIsDamagedAndReadable) {
  const ScratchFolder folder;
  const auto tensors = made_tensors();
  const auto checkpoint =
      make_checkpoint(folder.path(), 1, tensors, made_state(0), true);
  EXPECT_TRUE(survey_checkpoint(checkpoint, true).damage.empty());
  flip(checkpoint / "rank_00001.safetensors", 2 * kBlockBytes + 77);
  auto survey = survey_checkpoint(checkpoint, true);
  expect_facts(survey, tensors);
  ASSERT_EQ(survey.damage.size(), 1u);
  EXPECT_NE(survey.damage[0].find("rank_00001.safetensors: bytes 8388608"),
            std::string::npos)
      << survey.damage[0];
  EXPECT_NE(survey.damage[0].find("can be rebuilt from the others; tensors: "
                                  "adam_m.wte"),
            std::string::npos)
      << survey.damage[0];
  EXPECT_TRUE(survey.readable());
  ASSERT_EQ(survey.files.size(), 4u);
  EXPECT_TRUE(survey.files[1].rebuilt);
  EXPECT_TRUE(survey.files[3].parity);

  fs::remove(checkpoint / "rank_00001.safetensors");
  for (const bool verify : {true, false}) {
    survey = survey_checkpoint(checkpoint, verify);
    EXPECT_TRUE(survey.readable()) << verify;
    EXPECT_EQ(survey.damage.size(), 1u);
    EXPECT_EQ(survey.tensors.front().values.has_value(), verify);
  }
  fs::remove(checkpoint / "rank_00000.safetensors");
  for (const bool verify : {true, false}) {
    survey = survey_checkpoint(checkpoint, verify);
    EXPECT_TRUE(survey.readable()) << "two files are two copies";
    fs::rename(checkpoint / "parity_00000.bin", checkpoint / "away");
    survey = survey_checkpoint(checkpoint, verify);
    EXPECT_FALSE(survey.readable()) << verify;
    EXPECT_EQ(survey.damage.size(), 3u);
    EXPECT_FALSE(find(survey, "adam_m.wte").damage.empty());
    fs::rename(checkpoint / "away", checkpoint / "parity_00000.bin");
  }
}

TEST(CheckpointSurvey, TheFormBefore) {
  const ScratchFolder folder;
  const auto tensors = made_tensors();
  const auto state = made_state(4);
  const fs::path checkpoint = folder.path() / "step_00000004";
  write_single_file(folder.path(), 4, [&](const fs::path& file) {
    write_safetensors(file, {tensors, single_file_metadata(state)});
  });
  const auto survey = survey_checkpoint(checkpoint, true);
  EXPECT_TRUE(survey.damage.empty());
  EXPECT_EQ(survey.format, 1);
  EXPECT_EQ(survey.state, state);  // spikes and what was skipped, too
  ASSERT_EQ(survey.files.size(), 1u);
  EXPECT_EQ(survey.files[0].blocks, 0);
  expect_facts(survey, tensors);
  fs::resize_file(checkpoint / kStateFile, kBig);
  const auto cut = survey_checkpoint(checkpoint, true);
  EXPECT_EQ(cut.format, 0);
  ASSERT_EQ(cut.damage.size(), 1u);
  EXPECT_NE(cut.damage[0].find(kStateFile), std::string::npos);
}

}  // namespace
}  // namespace mumoe::run
