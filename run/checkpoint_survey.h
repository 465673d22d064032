#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dist/process_mesh.h"
#include "run/run_state.h"
#include "run/value_facts.h"

namespace mumoe::run {

/// A file of a checkpoint.
struct SurveyedFile {
  std::string name;
  std::int64_t bytes = 0;   ///< As the manifest has it.
  std::int64_t blocks = 0;  ///< That have a checksum; 0: it has none.
  bool parity = false;      ///< run/parity.h
  std::int64_t damaged_blocks = 0;
  std::string damage = {};  ///< What is first found; empty: nothing.
  bool lost = false;        ///< It is missing or of another size.
  /// Whether what is damaged is still known by the other files and parity.
  bool rebuilt = false;
};

struct SurveyedTensor {
  std::string name;  ///< "adam_m.h.0.mlp.layer1.output"
  std::vector<std::int64_t> shape;
  at::ScalarType dtype = at::kFloat;
  std::int64_t pieces = 0;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  std::vector<std::string> files = {};
  /// None where they were not read, or not all can be.
  std::optional<ValueFacts> values = {};
  /// File and place of what cannot be rebuilt; empty: nothing.
  std::string damage = {};
};

/// All tensors of a kind: "master", "adam_m", "adam_v", "buffers" (what is
/// saved beside parameters and not trained).
struct KindTotal {
  std::string kind;
  std::int64_t tensors = 0;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  /// Of those tensors that have them.
  std::optional<ValueFacts> values = {};
};

/// What a checkpoint on disk is like.
struct CheckpointSurvey {
  std::filesystem::path folder;
  /// 2: a manifest, and a file of each rank; 1: one file without checksums;
  /// 0: its manifest is damaged, and of the rest only the files are known.
  int format = 0;
  bool verified = false;  ///< Whether all bytes were read.
  RunState state = {};
  dist::MeshShape mesh = {};  ///< By which it was saved, of format 2.
  std::vector<SurveyedFile> files = {};
  std::vector<SurveyedTensor> tensors = {};  ///< By name.
  std::vector<KindTotal> totals = {};
  /// A line for each file: what is wrong, where, in which tensors.
  std::vector<std::string> damage = {};

  std::int64_t bytes() const;  ///< Of its files.
  /// Whether a run could go on from it, as far as is known: what is damaged, if
  /// anything, can be rebuilt.
  bool readable() const;
  /// All totals together.
  KindTotal total() const;
};

/// Looks at the checkpoint in `folder`. With `verify` each block of its files
/// is read once and checked; without, whether the manifest is whole and the
/// files are there, in their sizes. Damage is no error. Memory: a block, and
/// what is returned.
CheckpointSurvey survey_checkpoint(const std::filesystem::path& folder,
                                   bool verify);

}  // namespace mumoe::run
