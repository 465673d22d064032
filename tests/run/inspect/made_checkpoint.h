#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/file.h"
#include "run/checkpoint_folder.h"
#include "run/manifest.h"
#include "run/part.h"
#include "run/rebuild.h"

// A checkpoint of two ranks, made by hand: tensors that are cut by columns, by
// elements and not at all, dtypes that lie across blocks, files of several
// blocks.

namespace mumoe::testing {

namespace fs = std::filesystem;

/// Elements of the largest tensor: three blocks and a bit, in fp32.
inline constexpr std::int64_t kBig = (3 << 20) + 5;

inline std::map<std::string, at::Tensor> made_tensors() {
  at::manual_seed(7);
  std::map<std::string, at::Tensor> tensors = {
      {"master.h.0.cut", at::randn({4, 6})},
      {"adam_m.h.0.cut", at::randn({4, 6})},
      {"adam_v.h.0.cut", at::rand({4, 6})},
      {"master.h.0.flat", at::randn({10})},
      {"adam_m.h.0.flat", at::randn({10})},
      {"adam_v.h.0.flat", at::rand({10})},
      {"master.norm.mean", at::randn({3})},
      {"master.norm.count", at::full({}, 5, at::kLong)},
      {"adam_m.odd", at::tensor({1, 0, 1}, at::kByte)},
      {"master.odd", at::randn({3}).to(at::kBFloat16)},
      {"adam_m.wte", at::randn({kBig})},
      {"master.wte", at::randn({5, 2})},
  };
  return tensors;
}

inline run::RunState made_state(std::int64_t step) {
  run::RunState state{.step = step, .samples = 8 * step};
  state.settings = {{"model.width", "6"}, {"train.batch", "8"}};
  state.taken = {0x1234, 0x5678};
  state.spikes = {{1.5, 0.1, 1e-300}, {0.25, 3}};
  state.skipped = 2;
  return state;
}

/// What rank `rank` of two has.
inline run::Part made_part(const std::map<std::string, at::Tensor>& tensors,
                           int rank) {
  run::Part part;
  for (const auto& [name, whole] : tensors) {
    const auto shape = whole.sizes().vec();
    run::StoredPiece piece{.begin = std::vector<std::int64_t>(shape.size(), 0),
                           .extent = shape};
    at::Tensor values = whole;
    if (name.ends_with(".cut")) {
      piece.begin[1] = 3 * rank;
      piece.extent[1] = 3;
      values = whole.narrow(1, 3 * rank, 3);
      piece.count = values.numel();
    } else if (name.ends_with(".flat")) {
      piece.first = rank == 0 ? 0 : 4;
      piece.count = rank == 0 ? 4 : whole.numel() - 4;
      values = whole.narrow(0, piece.first, piece.count);
    } else {
      const bool first = name.find("norm") != name.npos;
      if (first != (rank == 0)) continue;
      piece.count = whole.numel();
    }
    part.push_back({name, shape, piece, values.contiguous()});
  }
  return part;
}

/// Writes it as `folder`/step_XXXXXXXX, and returns that.
inline fs::path make_checkpoint(
    const fs::path& folder,
    std::int64_t step,
    const std::map<std::string, at::Tensor>& tensors = made_tensors(),
    const run::RunState& state = made_state(0),
    bool parity = false) {
  run::Manifest manifest{.state = state,
                         .mesh = {1, 2},
                         .files = {},
                         .tensors = {}};
  manifest.state.step = step;
  const fs::path checkpoint = run::checkpoint_path(folder, step);
  fs::create_directories(checkpoint);
  for (int rank = 0; rank < 2; ++rank) {
    const auto written = run::write_part(real_disk(),
                                         checkpoint,
                                         rank,
                                         made_part(tensors, rank),
                                         manifest.state);
    run::add_part(manifest, written.text);
  }
  for (int rank = 0; parity && rank < 2; ++rank) {
    run::add_parity(
        manifest,
        run::parity_to_text(
            run::write_parity(real_disk(), checkpoint, rank, manifest.files)));
  }
  real_disk().write_file(checkpoint / run::kManifest,
                         run::manifest_text(manifest));
  return checkpoint;
}

/// Flips all bits of a byte.
inline void flip(const fs::path& file, std::int64_t offset) {
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekg(offset);
  const int byte = bytes.get();
  bytes.seekp(offset);
  bytes.put(static_cast<char>(~byte));
}

}  // namespace mumoe::testing
