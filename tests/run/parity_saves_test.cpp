// Checkpoints that are saved with parity: what of them there is, and what ends
// a save.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/disk.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_saver.h"
#include "run/newest_checkpoint.h"
#include "run/rebuild.h"
#include "run/repair.h"
#include "run/train_config.h"
#include "tests/run/ranks_with_parity.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::expect_equal;
using testing::flip;
using testing::Harm;
using testing::load;
using testing::rank_file;
using testing::save;
using testing::ScratchFolder;
using testing::State;
using testing::Tensors;

TEST(SavedWithParity, OfARankAloneThereIsACopy) {
  const ScratchFolder folder;
  const Tensors tensors = save(folder.path(), 2, {1, 1});
  const fs::path checkpoint = checkpoint_path(folder.path(), 2);
  flip(checkpoint / rank_file(0), 0.4);
  expect_equal(load(checkpoint, {1, 1}).tensors, tensors);
  fs::remove(checkpoint / rank_file(0));
  expect_equal(load(checkpoint, {1, 1}).tensors, tensors);
  EXPECT_EQ(repair_checkpoint(checkpoint).size(), 1u);
  fs::remove(checkpoint / parity_name(0));
  EXPECT_EQ(repair_checkpoint(checkpoint).size(), 1u);
}

/// Does something before a call for a file.
class HarmingDisk final : public Disk {
 public:
  HarmingDisk(DiskCall::Kind kind, std::string name, Harm harm)
      : kind_(kind), name_(std::move(name)), harm_(std::move(harm)) {}

 private:
  void before(const DiskCall& call) override {
    if (call.kind == kind_ && call.path.filename() == name_) harm_(call.path);
  }
  DiskCall::Kind kind_;
  std::string name_;
  Harm harm_;
};

/// What is said of a checkpoint that comes to nothing.
std::string failure_of_save(DiskCall::Kind kind,
                            const std::string& name,
                            const Harm& harm) {
  const ScratchFolder folder;
  std::string failure;
  dist::ThreadWorld::run(4, [&](dist::Communicator& world) {
    State state(world, 1);
    state.draw();
    HarmingDisk disk(kind, name, harm);
    CheckpointSaver saver({.folder = folder.path(), .parity = true},
                          state.mesh,
                          *state.buckets,
                          disk);
    saver.begin({.step = 4}, state.optimizer);
    saver.publish();
    saver.finish();
    if (world.rank() == 3) failure = saver.take_result().value().failure;
  });
  EXPECT_EQ(latest_checkpoint(folder.path()), std::nullopt);
  for (const auto& left : fs::directory_iterator(folder.path())) {
    EXPECT_EQ(left.path().filename(), kLatest);
  }
  return failure;
}

TEST(SavedWithParity,
     ParityThatCannotBeWrittenOrIsNotThereAfterwardsEndsTheSave) {
  using Kind = DiskCall::Kind;
  const std::string sums = parity_name(2);
  EXPECT_NE(failure_of_save(Kind::write,
                            sums,
                            [](const fs::path& file) {
                              throw InputError(file.string() + ": no space");
                            })
                .find(sums + ": no space"),
            std::string::npos);
  // What a rank has written is something else before it is summed.
  EXPECT_NE(failure_of_save(Kind::create,
                            sums,
                            [](const fs::path& file) {
                              flip(file.parent_path() / rank_file(1), 0.5);
                            })
                .find(rank_file(1)),
            std::string::npos);
  EXPECT_NE(failure_of_save(Kind::forget,
                            sums,
                            [](const fs::path& file) { flip(file, 0.5); })
                .find(sums),
            std::string::npos);
}

// Nothing is read of them while the others are whole.
TEST(SavedWithParity, AFileOfParityThatIsLostIsTold) {
  const ScratchFolder folder;
  dist::ThreadWorld::run(4, [&](dist::Communicator& world) {
    State state(world, 1);
    state.draw();
    CheckpointSaver saver({.folder = folder.path(), .parity = true},
                          state.mesh,
                          *state.buckets);
    saver.begin({.step = 4}, state.optimizer);
    saver.finish();
    EXPECT_EQ(saver.take_result().value().failure, "");
  });
  const auto whole = newest_checkpoint(folder.path());
  EXPECT_EQ(whole.value().damage, std::vector<std::string>());
  const std::string sums = (whole->path / parity_name(0)).string();
  fs::remove(sums);
  const auto lacking = newest_checkpoint(folder.path());
  ASSERT_EQ(lacking.value().damage.size(), 1u);
  EXPECT_EQ(lacking->damage[0],
            "damaged  " + sums +
                ": No such file or directory; no other file can be rebuilt "
                "without it: mumoe inspect " +
                whole->path.string() + " --repair yes writes it anew");
}

TEST(ParityOption, IsOneOrNone) {
  TrainerConfig config;
  for (const int parity : {0, 1}) {
    config.checkpoint_parity = parity;
    EXPECT_NO_THROW(config.validate());
  }
  for (const int parity : {-1, 2}) {
    config.checkpoint_parity = parity;
    testing::expect_input_error([&] { config.validate(); },
                                {"checkpoint_parity", "expected 0 or 1"});
  }
}

}  // namespace
}  // namespace mumoe::run
