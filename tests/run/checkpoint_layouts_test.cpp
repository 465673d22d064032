// What was saved at one layout of the ranks is loaded at each other, bit for
// bit, and no rank reads what it does not need.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "run/checkpoint_folder.h"
#include "run/checkpoint_saver.h"
#include "run/load_checkpoint.h"
#include "run/manifest.h"
#include "run/part.h"
#include "tests/run/saved_buckets.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::SavedBuckets;
using testing::SavedLayout;

/// Seven meshes, with ZeRO and without, every other one padded as on a GPU.
std::vector<SavedLayout> layouts_of(at::ScalarType compute) {
  std::vector<SavedLayout> layouts;
  for (const auto& [dp, tp] : std::vector<std::pair<int, int>>{{1, 1},
                                                               {2, 1},
                                                               {3, 1},
                                                               {1, 2},
                                                               {2, 2},
                                                               {4, 1},
                                                               {1, 4}}) {
    for (const int zero : {0, 1}) {
      layouts.push_back({.dp = dp,
                         .tp = tp,
                         .zero = zero,
                         .compute = compute,
                         .padded = layouts.size() % 3 == 1,
                         .many = true});
    }
  }
  return layouts;
}

void save(dist::Communicator& world,
          const SavedLayout& layout,
          const fs::path& folder) {
  SavedBuckets saved(world, layout);
  CheckpointSaver saver({.folder = folder}, saved.mesh, saved.buckets);
  saved.fill(1);
  saver.begin(SavedBuckets::state(1, 1), saved.optimizer);
  saver.finish();
  const auto result = saver.take_result();
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->failure + result->note, "");
}

/// The weights that the model computes with are the masters, rounded, and
/// padding is zero.
void expect_weights(const SavedBuckets& saved) {
  for (const auto& p : saved.registry.parameters()) {
    const at::Tensor whole = saved.values("master", p, 1);
    const at::Tensor expected =
        saved.registry.cut(p, whole).to(p.value.scalar_type());
    EXPECT_TRUE(at::equal(p.value.detach(), expected)) << p.name;
  }
}

class CheckpointLayouts : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(CheckpointLayouts, AreLoadedAtEachOther) {
  const auto layouts = layouts_of(GetParam());
  const testing::ScratchFolder folder;
  const auto folder_of = [&](std::size_t layout) {
    return folder.path() / std::to_string(layout);
  };
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    dist::ThreadWorld::run(layouts[i].dp * layouts[i].tp,
                           [&](dist::Communicator& world) {
                             save(world, layouts[i], folder_of(i));
                           });
  }
  for (const SavedLayout& to : layouts) {
    dist::ThreadWorld::run(to.dp * to.tp, [&](dist::Communicator& world) {
      SavedBuckets saved(world, to);
      for (std::size_t i = 0; i < layouts.size(); ++i) {
        const std::string pair = layouts[i].describe() + " at " + to.describe();
        saved.fill(99);
        const Loaded loaded = load_checkpoint(checkpoint_path(folder_of(i), 1),
                                              saved.buckets,
                                              saved.optimizer,
                                              world);
        EXPECT_EQ(loaded.state, SavedBuckets::state(1, 1)) << pair;
        EXPECT_EQ(saved.differences(1), "") << pair;
        expect_weights(saved);
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    CheckpointLayouts,
    ::testing::Values(at::kBFloat16, at::kFloat, at::kDouble),
    [](const auto& info) { return std::string(c10::toString(info.param)); });

/// The elements of each tensor that this rank keeps, by their places in the
/// whole tensor: found by marking them.
std::map<std::string, std::vector<std::int64_t>> owned_by(
    const SavedBuckets& saved) {
  std::map<std::string, std::vector<std::int64_t>> owned;
  for (std::size_t b = 0; b < saved.buckets.buckets().size(); ++b) {
    const auto& bucket = saved.buckets.buckets()[b];
    for (const auto& entry : bucket.entries) {
      const auto& p = saved.buckets.parameter(entry);
      const at::Tensor shard = at::zeros_like(bucket.master);
      saved.buckets.scatter(at::arange(1, p.global_numel() + 1, shard.options())
                                .view(p.global_shape),
                            bucket,
                            entry,
                            shard);
      std::vector<std::int64_t> places;
      for (std::int64_t i = 0; i < shard.numel(); ++i) {
        const auto mark =
            static_cast<std::int64_t>(shard.data_ptr<double>()[i]);
        if (mark > 0) places.push_back(mark - 1);
      }
      for (const auto& [prefix, values] :
           shards_of(saved.buckets, b, saved.optimizer)) {
        owned[prefix + p.name] = places;
      }
    }
  }
  return owned;
}

/// Where each element of a tensor lies: its file and block, by its place in the
/// whole tensor.
std::vector<std::pair<std::size_t, std::int64_t>> blocks_of(
    const StoredTensor& tensor) {
  const auto element =
      static_cast<std::int64_t>(c10::elementSize(tensor.dtype));
  std::vector<std::pair<std::size_t, std::int64_t>> blocks(tensor.numel(),
                                                           {99, -1});
  for (const StoredPiece& piece : tensor.pieces) {
    for (std::int64_t i = 0; i < piece.count; ++i) {
      std::int64_t rest = piece.first + i, whole = 0, stride = 1;
      for (std::size_t d = tensor.shape.size(); d-- > 0;) {
        whole += (piece.begin[d] + rest % piece.extent[d]) * stride;
        rest /= piece.extent[d];
        stride *= tensor.shape[d];
      }
      EXPECT_EQ(blocks[whole].second, -1) << "an element twice";
      blocks[whole] = {piece.file, (piece.offset + i * element) / kBlockBytes};
    }
  }
  return blocks;
}

/// Loads at `to`, and counts what each rank has to read.
void expect_no_more_read(const fs::path& checkpoint, const SavedLayout& to) {
  const Manifest manifest = read_manifest(checkpoint);
  std::map<std::string, std::vector<std::pair<std::size_t, std::int64_t>>>
      blocks;
  for (const auto& [name, tensor] : manifest.tensors) {
    blocks[name] = blocks_of(tensor);
  }
  dist::ThreadWorld::run(to.dp * to.tp, [&](dist::Communicator& world) {
    SavedBuckets saved(world, to);
    const Loaded loaded =
        load_checkpoint(checkpoint, saved.buckets, saved.optimizer, world);
    std::set<std::pair<std::size_t, std::int64_t>> needed;
    std::int64_t bytes = 0;
    for (const auto& [name, places] : owned_by(saved)) {
      const auto& of_tensor = blocks.at(name);
      for (const std::int64_t place : places) {
        needed.insert(of_tensor.at(static_cast<std::size_t>(place)));
        bytes += sizeof(double);
      }
    }
    EXPECT_EQ(loaded.blocks, std::ssize(needed)) << to.describe();
    EXPECT_EQ(loaded.bytes, bytes) << to.describe();
  });
}

TEST(CheckpointLayouts, ReadEachBlockOnceAndNoneInVain) {
  const auto large = [](int dp, int tp, int zero) {
    return SavedLayout{.dp = dp,
                       .tp = tp,
                       .zero = zero,
                       .compute = at::kDouble,
                       .padded = tp == 2,
                       .many = true,
                       .large = true};
  };
  const std::vector<SavedLayout> layouts = {large(1, 1, 0),
                                            large(2, 2, 1),
                                            large(1, 4, 0),
                                            large(3, 1, 1)};
  for (const SavedLayout& from : layouts) {
    const testing::ScratchFolder folder;
    dist::ThreadWorld::run(from.dp * from.tp, [&](dist::Communicator& world) {
      save(world, from, folder.path());
    });
    SCOPED_TRACE(from.describe());
    for (const SavedLayout& to : layouts) {
      expect_no_more_read(checkpoint_path(folder.path(), 1), to);
    }
  }
}

}  // namespace
}  // namespace mumoe::run
