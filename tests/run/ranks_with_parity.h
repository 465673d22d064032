#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/disk.h"
#include "base/file.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/checkpoint_saver.h"
#include "run/load_checkpoint.h"
#include "run/part.h"
#include "tests/support/thread_communicator.h"

// A checkpoint with parity, saved and loaded by ranks that are threads.

namespace mumoe::testing {

/// Parameters and a moment, about ten MiB for each of four ranks: three blocks,
/// which lie in as many stripes.
struct State {
  State(dist::Communicator& world, int tp)
      : mesh(world, 0, tp), registry(mesh.tp(), at::kFloat, at::kCPU) {
    const auto add = [&](const char* name,
                         std::vector<std::int64_t> shape,
                         dist::Placement placement) {
      registry.add({.name = name,
                    .global_shape = std::move(shape),
                    .placement = placement,
                    .init = dist::Initializer::uniform(1)});
    };
    add("wide", {2237, 2203}, dist::Placement::cut(0));
    add("whole", {31, 7}, dist::Placement::replicated());
    buckets = std::make_unique<dist::FlatBuckets>(
        registry,
        mesh,
        dist::BucketOptions{.bytes = 1 << 20, .zero = 1});
    run::Moment& moment = optimizer.emplace_back(run::Moment{"exp_avg", {}});
    for (const dist::Bucket& bucket : buckets->buckets()) {
      moment.shards.push_back(at::zeros_like(bucket.master));
    }
  }

  void draw() {
    buckets->initialise(5);
    for (std::size_t b = 0; b < buckets->buckets().size(); ++b) {
      optimizer[0].shards[b].copy_(buckets->buckets()[b].master * 3);
    }
  }
  std::vector<at::Tensor> tensors() const {
    std::vector<at::Tensor> all;
    for (std::size_t b = 0; b < buckets->buckets().size(); ++b) {
      for (const auto& [name, shard] : run::shards_of(*buckets, b, optimizer)) {
        all.push_back(shard.clone());
      }
    }
    return all;
  }

  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  std::unique_ptr<dist::FlatBuckets> buckets;
  run::OptimizerState optimizer;
};

/// By rank.
using Tensors = std::vector<std::vector<at::Tensor>>;

inline Tensors save(const std::filesystem::path& folder,
                    std::int64_t step,
                    dist::MeshShape layout,
                    bool async = false) {
  Tensors tensors(static_cast<std::size_t>(layout.ranks()));
  dist::ThreadWorld::run(layout.ranks(), [&](dist::Communicator& world) {
    State state(world, layout.tp);
    state.draw();
    tensors[static_cast<std::size_t>(world.rank())] = state.tensors();
    run::CheckpointSaver saver(
        {.folder = folder, .keep = 9, .async = async, .parity = true},
        state.mesh,
        *state.buckets);
    saver.begin({.step = step}, state.optimizer);
    saver.finish();
    const auto saved = saver.take_result();
    ASSERT_TRUE(saved.has_value());
    EXPECT_EQ(saved->failure, "");
  });
  return tensors;
}

struct LoadedTensors {
  Tensors tensors;
  std::vector<std::string> rebuilt;
};

inline LoadedTensors load(const std::filesystem::path& checkpoint,
                          dist::MeshShape layout) {
  LoadedTensors all{Tensors(static_cast<std::size_t>(layout.ranks())), {}};
  dist::ThreadWorld::run(layout.ranks(), [&](dist::Communicator& world) {
    State state(world, layout.tp);
    const run::Loaded loaded = run::load_checkpoint(checkpoint,
                                                    *state.buckets,
                                                    state.optimizer,
                                                    world);
    all.tensors[static_cast<std::size_t>(world.rank())] = state.tensors();
    if (world.rank() == world.size() - 1) all.rebuilt = loaded.rebuilt;
  });
  return all;
}

inline void expect_equal(const Tensors& a, const Tensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t r = 0; r < a.size(); ++r) {
    ASSERT_EQ(a[r].size(), b[r].size());
    for (std::size_t t = 0; t < a[r].size(); ++t) {
      EXPECT_TRUE(at::equal(a[r][t], b[r][t])) << "rank " << r << " " << t;
    }
  }
}

inline std::string rank_file(int rank) {
  return run::part_name(rank);
}

inline void rewrite(const std::filesystem::path& file,
                    const std::string& bytes) {
  // Another file than that of which it is a second name.
  std::filesystem::remove(file);
  real_disk().write_file(file, bytes);
}

inline void flip(const std::filesystem::path& file, double place) {
  std::string bytes = read_file(file);
  const auto at =
      static_cast<std::size_t>(place * static_cast<double>(bytes.size() - 1));
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  rewrite(file, bytes);
}

using Harm = std::function<void(const std::filesystem::path& file)>;

}  // namespace mumoe::testing
