// A save on a disk that refuses, or loses, something: what was there before
// stays, and nothing is left lying about.
#include "run/checkpoint_saver.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "dist/gather_text.h"
#include "run/checkpoint_folder.h"
#include "run/load_checkpoint.h"
#include "run/newest_checkpoint.h"
#include "tests/run/saved_buckets.h"
#include "tests/support/bad_disk.h"
#include "tests/support/scratch.h"
#include "tests/support/steps.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::BadDisk;
using testing::SavedBuckets;
using testing::ScratchFolder;
using Names = std::set<std::string>;

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

std::string latest_in(const fs::path& folder) {
  std::ifstream file(folder / kLatest);
  std::string name;
  std::getline(file, name);
  return name;
}

/// One rank of four that saves; all of its calls are collective.
class Saving {
 public:
  Saving(dist::Communicator& world, SaverConfig config)
      : world_(world),
        saved_(world, {.dp = 2, .tp = 2, .zero = 1}),
        config_(std::move(config)),
        saver_(config_, saved_.mesh, saved_.buckets, disk_) {}

  BadDisk& disk() { return disk_; }
  CheckpointSaver& saver() { return saver_; }

  /// Saves number `save`, of `step`, and says what came of it at last; the same
  /// on all ranks.
  Saved save(std::int64_t step, int save) {
    saved_.fill(save);
    saver_.begin(SavedBuckets::state(step, save), saved_.optimizer);
    if (config_.async) saved_.fill(1000 + save);  // the run goes on
    saver_.publish();
    auto last = saver_.take_result();
    saver_.finish();
    if (auto again = saver_.take_result()) last = std::move(again);
    EXPECT_TRUE(last.has_value());
    EXPECT_EQ(last->step, step);
    for (const auto& other :
         dist::gather_text(world_, last->failure + "|" + last->note)) {
      EXPECT_EQ(other, last->failure + "|" + last->note);
    }
    return *last;
  }

  /// The newest checkpoint is whole, and of this save.
  void expect_newest(std::int64_t step, int save) {
    const auto newest = newest_checkpoint(config_.folder);
    ASSERT_TRUE(newest.has_value());
    EXPECT_EQ(newest->damage, std::vector<std::string>());
    saved_.fill(2000);
    const Loaded loaded =
        load_checkpoint(newest->path, saved_.buckets, saved_.optimizer, world_);
    EXPECT_EQ(loaded.state, SavedBuckets::state(step, save));
    EXPECT_EQ(saved_.differences(save), "");
  }

  /// On rank 0, before any rank goes on.
  void expect_names(const Names& names) {
    world_.barrier();
    if (world_.rank() == 0) {
      EXPECT_EQ(names_in(config_.folder), names);
    }
    world_.barrier();
  }

 private:
  dist::Communicator& world_;
  SavedBuckets saved_;
  SaverConfig config_;
  BadDisk disk_;
  CheckpointSaver saver_;
};

void with_four(const std::function<void(dist::Communicator&)>& body) {
  dist::ThreadWorld::run(4, body);
}

/// Three saves; call `number` of rank `rank` in the second is refused. Returns
/// whether there was such a call.
bool refuse_one(SaverConfig config, std::int64_t step, int rank, int number) {
  std::atomic<bool> was_there = false;
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, config);
    EXPECT_EQ(ranks.save(1, 1).failure, "");
    if (world.rank() == rank) ranks.disk().refuse(number);
    const Saved second = ranks.save(step, 2);
    if (world.rank() == rank) was_there = ranks.disk().relent();
    if (second.failure.empty()) {
      ranks.expect_newest(step, 2);
    } else {
      const std::string& text = second.failure;
      EXPECT_NE(text.find("the disk says no"), text.npos) << text;
      EXPECT_NE(text.find(config.folder.string()), text.npos) << text;
      ranks.expect_newest(1, 1);
      const auto newest = newest_checkpoint(config.folder);
      ranks.expect_names({newest->path.filename().string(), "latest"});
      EXPECT_EQ(latest_in(config.folder), newest->path.filename().string());
    }
    const Saved third = ranks.save(3, 3);
    EXPECT_EQ(third.failure, "");
    // Of the second: what it did after it was there.
    if (!third.note.empty()) {
      EXPECT_NE(third.note.find("is not removed"), third.note.npos);
    }
    ranks.expect_newest(3, 3);
    ranks.expect_names({"step_00000003", "latest"});
  });
  return was_there;
}

class Refused : public ::testing::TestWithParam<std::tuple<bool, int>> {};

TEST_P(Refused, AnyOneCallLosesNothing) {
  const auto [async, step] = GetParam();
  // Where a sanitizer makes them slow, some of them.
  const int stride = testing::compared_steps() < 20 ? 11 : 1;
  int calls = 0;
  for (int rank = 0; rank < 4; ++rank) {
    for (int number = 1;; number += stride) {
      SCOPED_TRACE(fmt::format("call {} of rank {}", number, rank));
      const ScratchFolder folder;
      const bool was_there =
          refuse_one({.folder = folder.path() / "c", .keep = 1, .async = async},
                     step,
                     rank,
                     number);
      if (!was_there || HasFailure()) break;
      ++calls;
    }
  }
  EXPECT_GT(calls * stride, 50);
}

INSTANTIATE_TEST_SUITE_P(All,
                         Refused,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values(1, 2)),
                         [](const auto& info) {
                           return fmt::format(
                               "{}{}",
                               std::get<0>(info.param) ? "Async" : "Sync",
                               std::get<1>(info.param) == 1 ? "Again" : "");
                         });

/// What may become of a file that was synced.
const std::pair<const char*, std::function<void(const fs::path&)>> kLosses[] = {
    {"a byte",
     [](const fs::path& file) {
       std::fstream bytes(file, std::ios::in | std::ios::out);
       bytes.seekg(-2, std::ios::end);
       const int old = bytes.get();
       bytes.seekp(-2, std::ios::end);
       bytes.put(static_cast<char>(old ^ 1));
     }},
    {"its end",
     [](const fs::path& file) {
       fs::resize_file(file, fs::file_size(file) - 2);
     }},
    {"all of it", [](const fs::path& file) { fs::resize_file(file, 0); }}};

class Lost : public ::testing::TestWithParam<bool> {};

TEST_P(Lost, IsNoticedWhenItIsReadAgain) {
  for (const auto& [what, lose] : kLosses) {
    for (const std::string& file :
         std::vector<std::string>{"rank_00000.safetensors",
                                  "rank_00003.safetensors",
                                  "manifest.json"}) {
      SCOPED_TRACE(fmt::format("{} of {}", what, file));
      const ScratchFolder folder;
      const SaverConfig config{.folder = folder.path() / "c",
                               .keep = 1,
                               .async = GetParam()};
      with_four([&](dist::Communicator& world) {
        Saving ranks(world, config);
        EXPECT_EQ(ranks.save(1, 1).failure, "");
        ranks.disk().act = [&](const DiskCall& call) {
          if (call.kind == DiskCall::Kind::forget &&
              call.path.filename() == file) {
            lose(call.path);
          }
        };
        const std::string text = ranks.save(2, 2).failure;
        EXPECT_NE(text.find("/" + file), text.npos) << text;
        EXPECT_NE(text.find("step_00000002"), text.npos) << text;
        ranks.expect_newest(1, 1);
        ranks.expect_names({"step_00000001", "latest"});
        EXPECT_EQ(latest_in(config.folder), "step_00000001");
        ranks.disk().act = {};
        EXPECT_EQ(ranks.save(2, 3).failure, "");
        ranks.expect_newest(2, 3);
        ranks.expect_names({"step_00000002", "latest"});
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Lost, ::testing::Bool(), [](const auto& info) {
  return info.param ? "Async" : "Sync";
});

TEST(CheckpointSaver, SavesTheSameStepAgain) {
  const ScratchFolder folder;
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, {.folder = folder.path(), .keep = 2});
    for (const auto& [step, save] :
         std::vector<std::pair<std::int64_t, int>>{{1, 1},
                                                   {2, 2},
                                                   {2, 3},
                                                   {2, 4}}) {
      const Saved saved = ranks.save(step, save);
      EXPECT_EQ(saved.failure + saved.note, "");
      ranks.expect_newest(step, save);
    }
    ranks.expect_names({"step_00000001", "step_00000002", "latest"});
  });
}

TEST(CheckpointSaver, KeepsAsManyAsItShouldAndWhatOthersMade) {
  const ScratchFolder folder;
  folder.write("notes.txt", "mine");
  folder.write("step_00000007.bak/manifest.json", "mine");
  folder.write("best/manifest.json", "mine");
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, {.folder = folder.path(), .keep = 2});
    for (int save = 1; save <= 5; ++save) {
      EXPECT_EQ(ranks.save(save, save).failure, "");
      world.barrier();
      if (save == 1 && world.rank() == 0) {
        folder.write("step_00000001/thoughts.txt", "mine");
      }
      world.barrier();
    }
    ranks.expect_names({"notes.txt",
                        "step_00000007.bak",
                        "best",
                        "step_00000001",
                        "step_00000004",
                        "step_00000005",
                        "latest"});
    EXPECT_EQ(latest_in(folder.path()), "step_00000005");
  });
}

// A run that a crash stopped between two renames goes on from the other name.
TEST(CheckpointSaver, RemovesWhatWasDisplacedWithTheOthers) {
  const ScratchFolder folder;
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, {.folder = folder.path(), .keep = 1});
    EXPECT_EQ(ranks.save(2, 1).failure, "");
    world.barrier();
    if (world.rank() == 0) {
      fs::rename(checkpoint_path(folder.path(), 2),
                 displaced_path(folder.path(), 2));
    }
    world.barrier();
    ranks.expect_newest(2, 1);
    EXPECT_EQ(ranks.save(3, 2).failure, "");
    ranks.expect_names({"step_00000003", "latest"});
  });
}

// The crash came when the other had its name, and before what it displaced was
// gone; then the run goes back and comes to this step again.
TEST(CheckpointSaver, SavesAStepAgainThatHasBothNames) {
  const ScratchFolder folder;
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, {.folder = folder.path(), .keep = 1});
    EXPECT_EQ(ranks.save(2, 1).failure, "");
    world.barrier();
    if (world.rank() == 0) {
      fs::copy(checkpoint_path(folder.path(), 2),
               displaced_path(folder.path(), 2));
    }
    world.barrier();
    const Saved saved = ranks.save(2, 2);
    EXPECT_EQ(saved.failure + saved.note, "");
    ranks.expect_newest(2, 2);
    ranks.expect_names({"step_00000002", "latest"});
  });
}

// Else they would become more and more without a word.
TEST(CheckpointSaver, TellsWhichOldOneTheDiskDoesNotLetGo) {
  for (const bool async : {false, true}) {
    const ScratchFolder folder;
    with_four([&](dist::Communicator& world) {
      Saving ranks(world, {.folder = folder.path(), .keep = 1, .async = async});
      EXPECT_EQ(ranks.save(1, 1).note, "");
      ranks.disk().act = [&](const DiskCall& call) {
        if (call.kind == DiskCall::Kind::rename &&
            call.path.filename() == "step_00000001") {
          fail<InputError>("the disk says no");
        }
      };
      std::string note = ranks.save(2, 2).note;
      // Where the save before did not wait for it, with the next.
      if (!async) {
        EXPECT_EQ(note, "");
        ranks.disk().act = {};
        note = ranks.save(3, 3).note;
      }
      EXPECT_EQ(note,
                (folder.path() / "step_00000001").string() +
                    " is not removed: the disk says no");
    });
  }
}

// What the run changes while a slow disk writes is not in the checkpoint.
TEST(CheckpointSaver, CopiesBeforeItWritesBehindTheRun) {
  const ScratchFolder folder;
  std::atomic<int> changed = 0;
  with_four([&](dist::Communicator& world) {
    SavedBuckets saved(world, {.dp = 2, .tp = 2});
    BadDisk disk;
    disk.act = [&](const DiskCall& call) {
      if (call.kind != DiskCall::Kind::write) return;
      while (changed < 4) std::this_thread::yield();
    };
    CheckpointSaver saver({.folder = folder.path(), .async = true},
                          saved.mesh,
                          saved.buckets,
                          disk);
    saved.fill(1);
    saver.begin(SavedBuckets::state(1, 1), saved.optimizer);
    EXPECT_TRUE(saver.busy());
    EXPECT_FALSE(saver.published());
    saved.fill(2);
    ++changed;
    saver.publish();
    const auto result = saver.take_result();
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->failure, "");
    EXPECT_GT(result->bytes, 0);
    EXPECT_EQ(result->copied_bytes, result->bytes);
    saver.finish();
    EXPECT_FALSE(saver.busy());
    load_checkpoint(checkpoint_path(folder.path(), 1),
                    saved.buckets,
                    saved.optimizer,
                    world);
    EXPECT_EQ(saved.differences(1), "");
  });
}

TEST(CheckpointSaver, SaysTheSameOnAllRanksWhereAFolderCannotBeMade) {
  const ScratchFolder folder;
  folder.write("file", "no folder");
  with_four([&](dist::Communicator& world) {
    Saving ranks(world, {.folder = folder.path() / "file" / "c"});
    const std::string text = ranks.save(1, 1).failure;
    EXPECT_NE(text.find((folder.path() / "file").string()), text.npos) << text;
    EXPECT_FALSE(ranks.saver().busy());
  });
}

}  // namespace
}  // namespace mumoe::run
