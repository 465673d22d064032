// Checkpoints of several ranks with parity, of which files are lost or damaged.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "base/file.h"
#include "run/best_checkpoint.h"
#include "run/checkpoint_weights.h"
#include "run/newest_checkpoint.h"
#include "run/rebuild.h"
#include "run/repair.h"
#include "tests/run/ranks_with_parity.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using dist::MeshShape;
using testing::expect_equal;
using testing::expect_input_error;
using testing::flip;
using testing::Harm;
using testing::load;
using testing::rank_file;
using testing::rewrite;
using testing::save;
using testing::ScratchFolder;
using testing::Tensors;

/// All that may happen to one file.
std::vector<std::pair<std::string, Harm>> harms() {
  const auto cut = [](double share) {
    return [share](const fs::path& file) {
      std::string bytes = read_file(file);
      bytes.resize(
          static_cast<std::size_t>(share * static_cast<double>(bytes.size())));
      rewrite(file, bytes);
    };
  };
  const auto flipped = [](double place) {
    return [place](const fs::path& file) { flip(file, place); };
  };
  return {{"missing", [](const fs::path& file) { fs::remove(file); }},
          {"empty", cut(0)},
          {"truncated", cut(0.6)},
          {"longer",
           [](const fs::path& file) { rewrite(file, read_file(file) + "x"); }},
          {"first byte flipped", flipped(0)},
          {"byte at half flipped", flipped(0.5)},
          {"last byte flipped", flipped(1)},
          {"a folder", [](const fs::path& file) {
             fs::remove(file);
             fs::create_directory(file);
           }}};
}

/// Where they are known to be alike.
bool is_typical(const std::string& harm) {
  return harm == "missing" || harm == "truncated" ||
         harm == "last byte flipped";
}

constexpr MeshShape kSaved{4, 1};

/// A checkpoint that is saved once for all tests, and copies of it.
class LostFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    kept_ = std::make_unique<Kept>();
    kept_->folder =
        fs::temp_directory_path() / fmt::format("mumoe_lost_{}", ::getpid());
    fs::remove_all(kept_->folder);
    kept_->tensors = save(kept_->folder, 7, kSaved);
    kept_->alone = load(original(), {1, 1}).tensors;
  }
  static void TearDownTestSuite() {
    fs::remove_all(kept_->folder);
    kept_.reset();
  }
  static fs::path original() { return checkpoint_path(kept_->folder, 7); }

  /// A checkpoint of `step` with the same files.
  static fs::path copy(const fs::path& folder, std::int64_t step) {
    const fs::path to = checkpoint_path(folder, step);
    fs::create_directories(to);
    for (const auto& file : fs::directory_iterator(original())) {
      fs::create_hard_link(file.path(), to / file.path().filename());
    }
    Manifest manifest = read_manifest(original());
    manifest.state.step = step;
    rewrite(to / kManifest, manifest_text(manifest));
    return to;
  }
  static void expect_loads(const fs::path& checkpoint, std::size_t damaged) {
    const auto same = load(checkpoint, kSaved),
               alone = load(checkpoint, {1, 1});
    expect_equal(same.tensors, kept_->tensors);
    expect_equal(alone.tensors, kept_->alone);
    EXPECT_EQ(same.rebuilt.size(), damaged);
    EXPECT_EQ(alone.rebuilt.size(), damaged);
  }
  static void expect_repaired(const fs::path& checkpoint, std::size_t files) {
    EXPECT_EQ(repair_checkpoint(checkpoint).size(), files);
    std::size_t there = 0;
    for (const auto& file : fs::directory_iterator(checkpoint)) {
      ++there;
      const fs::path name = file.path().filename();
      EXPECT_TRUE(read_file(file.path()) == read_file(original() / name))
          << name;
    }
    EXPECT_EQ(there, 9u);
    EXPECT_TRUE(repair_checkpoint(checkpoint).empty());
  }

  struct Kept {
    fs::path folder;
    Tensors tensors;
    Tensors alone;
  };
  static std::unique_ptr<Kept> kept_;
};
std::unique_ptr<LostFiles::Kept> LostFiles::kept_;

TEST_F(LostFiles, AnyOneOfARankIsRebuiltAsItIsReadAndOnDisk) {
  for (int rank = 0; rank < 4; ++rank) {
    for (const auto& [what, harm] : harms()) {
      SCOPED_TRACE(fmt::format("rank {}: {}", rank, what));
      const ScratchFolder folder;
      const fs::path checkpoint = copy(folder.path(), 7);
      harm(checkpoint / rank_file(rank));
      EXPECT_EQ(newest_checkpoint(folder.path())->path, checkpoint);
      expect_loads(checkpoint, 1);
      if (what == "a folder") fs::remove(checkpoint / rank_file(rank));
      expect_repaired(checkpoint, 1);
    }
  }
}

TEST_F(LostFiles, ParityItselfIsOnlyWrittenAgain) {
  for (int rank = 0; rank < 4; ++rank) {
    for (const auto& [what, harm] : harms()) {
      if (!is_typical(what)) continue;
      SCOPED_TRACE(fmt::format("rank {}: {}", rank, what));
      const ScratchFolder folder;
      const fs::path checkpoint = copy(folder.path(), 7);
      harm(checkpoint / parity_name(rank));
      EXPECT_EQ(newest_checkpoint(folder.path())->path, checkpoint);
      if (what == "missing") expect_loads(checkpoint, 0);
      expect_repaired(checkpoint, 1);
    }
  }
}

TEST_F(LostFiles, AllThatOneRankWroteIsRebuilt) {
  for (int rank = 0; rank < 4; ++rank) {
    for (const auto& [what, harm] : harms()) {
      if (!is_typical(what)) continue;
      SCOPED_TRACE(fmt::format("rank {}: {}", rank, what));
      const ScratchFolder folder;
      const fs::path checkpoint = copy(folder.path(), 7);
      harm(checkpoint / rank_file(rank));
      harm(checkpoint / parity_name(rank));
      EXPECT_EQ(newest_checkpoint(folder.path())->path, checkpoint);
      expect_loads(checkpoint, 1);
      expect_repaired(checkpoint, 2);
    }
  }
}

TEST_F(LostFiles, AnyLayoutReadsWhatIsRebuilt) {
  const ScratchFolder folder;
  const fs::path checkpoint = copy(folder.path(), 7);
  fs::remove(checkpoint / rank_file(1));
  fs::remove(checkpoint / parity_name(1));
  for (const MeshShape layout : {MeshShape{2, 1},
                                 MeshShape{3, 1},
                                 MeshShape{1, 2},
                                 MeshShape{2, 2},
                                 MeshShape{1, 4}}) {
    SCOPED_TRACE(fmt::format("{} x {}", layout.dp, layout.tp));
    expect_equal(load(checkpoint, layout).tensors,
                 load(original(), layout).tensors);
  }
}

TEST_F(LostFiles, ItIsSaidOnceForAllRanksAndNothingOnDiskChanges) {
  const ScratchFolder folder;
  const fs::path checkpoint = copy(folder.path(), 7);
  flip(checkpoint / rank_file(2), 0);
  flip(checkpoint / rank_file(2), 1);
  const std::string damaged = read_file(checkpoint / rank_file(2));
  const auto lines = load(checkpoint, kSaved).rebuilt;
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(rank_file(2)), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("bytes 0 to 4194304"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("1 more block"), std::string::npos) << lines[0];
  EXPECT_TRUE(read_file(checkpoint / rank_file(2)) == damaged);
  EXPECT_TRUE(load(original(), kSaved).rebuilt.empty());
}

TEST_F(LostFiles, WeightsAloneAreRebuiltToo) {
  const ScratchFolder folder;
  const fs::path checkpoint = copy(folder.path(), 7);
  fs::remove(checkpoint / rank_file(0));
  const auto whole =
      open_checkpoint_weights(original(), read_manifest(original()));
  const auto rebuilt =
      open_checkpoint_weights(checkpoint, read_manifest(checkpoint));
  EXPECT_TRUE(rebuilt->rebuilt().empty());
  EXPECT_TRUE(
      at::equal(rebuilt->read("master.wide"), whole->read("master.wide")));
  EXPECT_EQ(rebuilt->rebuilt().size(), 1u);
  EXPECT_TRUE(whole->rebuilt().empty());
}

TEST_F(LostFiles, TwoAtOtherPlacesAreBothRebuilt) {
  const ScratchFolder folder;
  const fs::path checkpoint = copy(folder.path(), 7);
  // The first chunks of files 0 and 1 are in stripes 1 and 0.
  flip(checkpoint / rank_file(0), 0.1);
  flip(checkpoint / rank_file(1), 0.1);
  expect_loads(checkpoint, 2);
  expect_repaired(checkpoint, 2);
}

TEST_F(LostFiles, TwoAtOnePlaceAreNamedAndTheOlderCheckpointIsTaken) {
  const ScratchFolder folder;
  const fs::path older = copy(folder.path(), 5), newer = copy(folder.path(), 7);
  // Of both the first chunk is in stripe 0.
  flip(newer / rank_file(1), 0.1);
  flip(newer / rank_file(2), 0.1);
  expect_input_error([&] { load(newer, kSaved); },
                     {rank_file(1), rank_file(2), "cannot be rebuilt"});
  expect_input_error([&] { repair_checkpoint(newer); },
                     {rank_file(1), rank_file(2), "cannot be rebuilt"});
  EXPECT_EQ(std::distance(fs::directory_iterator(newer), {}), 9);
  const fs::path taken = past_damage([&](const Damage& known) {
    const auto newest = newest_checkpoint(folder.path(), known);
    load(newest->path, kSaved);
    return newest->path;
  });
  EXPECT_EQ(taken, older);
}

TEST_F(LostFiles, TwoThatAreMissingAreSeenBeforeAnythingIsRead) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {rank_file(0), rank_file(3)},
      {rank_file(1), parity_name(0)},
      {rank_file(3), parity_name(1)}};
  for (const auto& [a, b] : pairs) {
    const ScratchFolder folder;
    const fs::path older = copy(folder.path(), 5);
    const fs::path newer = copy(folder.path(), 7);
    fs::remove(newer / a);
    fs::remove(newer / b);
    const auto newest = newest_checkpoint(folder.path());
    EXPECT_EQ(newest->path, older);
    ASSERT_EQ(newest->damage.size(), 1u);
    EXPECT_NE(newest->damage[0].find(a), std::string::npos);
    EXPECT_NE(newest->damage[0].find(b), std::string::npos);
  }
}

TEST_F(LostFiles, TheBestIsRepairedWithoutItsOtherName) {
  const ScratchFolder folder;
  const fs::path checkpoint = copy(folder.path(), 7);
  keep_best(folder.path(), {7, 2.5});
  const fs::path best = folder.path() / kBestName;
  EXPECT_TRUE(fs::exists(best / parity_name(3)));
  fs::remove(best / rank_file(2));
  fs::remove(best / parity_name(2));
  expect_equal(load(best, {1, 1}).tensors, kept_->alone);
  EXPECT_EQ(repair_checkpoint(best).size(), 2u);
  EXPECT_TRUE(repair_checkpoint(checkpoint).empty());
  EXPECT_TRUE(remove_if_ours(real_disk(), best));
}

TEST_F(LostFiles, WrittenBehindTheRunTheyAreTheSame) {
  const ScratchFolder folder;
  expect_equal(save(folder.path(), 7, kSaved, /*async=*/true), kept_->tensors);
  const fs::path other = checkpoint_path(folder.path(), 7);
  for (const auto& file : fs::directory_iterator(original())) {
    const fs::path name = file.path().filename();
    EXPECT_TRUE(read_file(other / name) == read_file(file.path())) << name;
  }
}

}  // namespace
}  // namespace mumoe::run
