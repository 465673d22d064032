// In what two checkpoints differ.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "mumoe/safetensors.h"
#include "run/checkpoint_difference.h"
#include "run/single_file.h"
#include "tests/run/inspect/made_checkpoint.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::flip;
using testing::made_state;
using testing::made_tensors;
using testing::make_checkpoint;
using testing::ScratchFolder;
namespace fs = std::filesystem;

bool all(const std::string&) {
  return true;
}

const TensorDifference& find(const CheckpointDifference& difference,
                             const std::string& name) {
  const auto found =
      std::ranges::find(difference.tensors, name, &TensorDifference::name);
  if (found == difference.tensors.end()) {
    throw InternalError("no tensor " + name);
  }
  return *found;
}

TEST(CheckpointDifference, TheSameInAnotherFormIsEqual) {
  const ScratchFolder folder;
  auto tensors = made_tensors();
  tensors["master.h.0.cut"][0][0] = std::numeric_limits<float>::quiet_NaN();
  const auto here = make_checkpoint(folder.path(), 3, tensors);
  write_single_file(folder.path() / "other", 3, [&](const fs::path& file) {
    write_safetensors(file, {tensors, single_file_metadata(made_state(3))});
  });
  const auto difference =
      compare_checkpoints(here, folder.path() / "other/step_00000003", all);
  EXPECT_EQ(difference.equal(), std::ssize(tensors));
  EXPECT_TRUE(difference.settings.empty());
  EXPECT_TRUE(difference.only_here.empty());
  EXPECT_TRUE(difference.damage().empty());
  EXPECT_EQ(difference.other_state.step, 3);
}

TEST(CheckpointDifference, SaysHowMuchWhichTensorsDiffer) {
  const ScratchFolder folder;
  const auto tensors = made_tensors();
  auto others = tensors;
  const at::Tensor& cut = tensors.at("master.h.0.cut");
  others["master.h.0.cut"] = cut.clone();
  others["master.h.0.cut"][3][4] += 0.5;
  others["master.norm.mean"] = tensors.at("master.norm.mean").to(at::kDouble);
  others["master.wte"] = at::ones({2, 5});
  others["master.odd"] = tensors.at("master.odd").clone();
  others["master.odd"][1] = std::numeric_limits<float>::infinity();
  others.erase("adam_v.h.0.flat");
  others["adam_v.new"] = at::ones({2});
  const auto here = make_checkpoint(folder.path(), 3, tensors);
  auto state = made_state(0);
  state.settings = {{"model.width", "7"}, {"data.seed", "1"}};
  const auto other = make_checkpoint(folder.path(), 4, others, state);
  const auto found = compare_checkpoints(here, other, all);

  EXPECT_EQ(found.equal(), std::ssize(tensors) - 5);
  const auto& changed = find(found, "master.h.0.cut");
  EXPECT_FALSE(changed.equal);
  ASSERT_TRUE(changed.relative);
  const auto fp64 = cut.to(at::kDouble);
  const auto off = others["master.h.0.cut"].to(at::kDouble) - fp64;
  EXPECT_NEAR(*changed.relative,
              (off.norm() / fp64.norm()).item<double>(),
              1e-14);
  EXPECT_EQ(changed.largest, off.abs().max().item<double>());
  EXPECT_NEAR(changed.largest, 0.5, 1e-6);
  EXPECT_EQ(changed.non_finite, 0);

  const auto& widened = find(found, "master.norm.mean");
  EXPECT_FALSE(widened.equal);
  EXPECT_EQ(widened.relative, 0);
  EXPECT_EQ(widened.form, "F32 [3] and F64 [3]");
  EXPECT_EQ(find(found, "master.wte").form, "F32 [5, 2] and F32 [2, 5]");
  EXPECT_FALSE(find(found, "master.wte").relative);
  EXPECT_EQ(find(found, "master.odd").non_finite, 1);
  EXPECT_EQ(find(found, "master.odd").largest, 0);

  EXPECT_EQ(found.only_here, std::vector<std::string>{"adam_v.h.0.flat"});
  EXPECT_EQ(found.only_other, std::vector<std::string>{"adam_v.new"});
  ASSERT_EQ(found.settings.size(), 3u);
  EXPECT_EQ(found.settings[0].key, "data.seed");
  EXPECT_EQ(found.settings[0].here, std::nullopt);
  EXPECT_EQ(found.settings[1].here, "6");
  EXPECT_EQ(found.settings[1].other, "7");
  EXPECT_EQ(found.settings[2].other, std::nullopt);
}

TEST(CheckpointDifference, FromZero) {
  const ScratchFolder folder;
  auto tensors = made_tensors();
  tensors["master.wte"] = at::zeros({5, 2});
  const auto here = make_checkpoint(folder.path(), 3, tensors);
  tensors["master.wte"] = at::full({5, 2}, -2.0);
  const auto other = make_checkpoint(folder.path(), 4, tensors);
  const auto found =
      compare_checkpoints(here, other, [](const std::string& name) {
        return name == "master.wte";
      });
  ASSERT_EQ(found.tensors.size(), 1u);
  EXPECT_FALSE(found.tensors[0].relative);
  EXPECT_EQ(found.tensors[0].largest, 2);
  EXPECT_EQ(compare_checkpoints(other, here, all).equal(),
            std::ssize(tensors) - 1);
}

TEST(CheckpointDifference, DamageIsOneTensorsAffair) {
  const ScratchFolder folder;
  const auto here = make_checkpoint(folder.path(), 3);
  const auto other = make_checkpoint(folder.path(), 4);
  flip(other / "rank_00001.safetensors", kBlockBytes + 9);
  const auto found = compare_checkpoints(here, other, all);
  const auto& lost = find(found, "adam_m.wte");
  EXPECT_NE(lost.damage.find("step_00000004/rank_00001.safetensors: "
                             "adam_m.wte: bytes 4194304"),
            std::string::npos)
      << lost.damage;
  EXPECT_EQ(found.equal(), std::ssize(made_tensors()) - 1);
  EXPECT_EQ(found.damage().size(), 1u);
  flip(other / kManifest, 30);
  testing::expect_input_error([&] { compare_checkpoints(here, other, all); },
                              {"step_00000004/manifest.json"});
}

}  // namespace
}  // namespace mumoe::run
