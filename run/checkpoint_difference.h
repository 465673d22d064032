#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "run/run_state.h"

namespace mumoe::run {

/// A setting that two checkpoints have otherwise; nothing: not at all.
struct SettingDifference {
  std::string key;
  std::optional<std::string> here = {};
  std::optional<std::string> other = {};
};

/// A tensor that both have.
struct TensorDifference {
  std::string name;
  bool equal = false;  ///< Dtype, shape and every bit.
  /// Of what is finite in both, ‖here − other‖ / ‖here‖ in the Frobenius norm,
  /// in fp64; none where that of `here` is zero and they differ.
  std::optional<double> relative = {};
  double largest = 0;           ///< Of |here − other|.
  std::int64_t non_finite = 0;  ///< Elements that differ and are not finite.
  /// Dtypes or shapes that differ; nothing is compared where shapes do.
  std::string form = {};
  std::string damage = {};  ///< Empty: both can be read.
};

/// What two checkpoints have otherwise, by whatever layouts they were saved.
struct CheckpointDifference {
  std::filesystem::path here, other;
  RunState here_state = {}, other_state = {};
  std::vector<SettingDifference> settings = {};
  std::vector<std::string> only_here = {}, only_other = {};  ///< Tensors.
  std::vector<TensorDifference> tensors = {};                ///< By name.

  std::vector<std::string> notes = {};  ///< What was rebuilt, by parity.

  /// Of `tensors`.
  std::int64_t equal() const;
  std::vector<std::string> damage() const;
};

/// Compares the checkpoints in two folders, of their tensors those that
/// `wanted` asks for. Memory: one tensor of each. A tensor that is damaged is
/// said to be; throws `DamageError` where a manifest is.
CheckpointDifference compare_checkpoints(
    const std::filesystem::path& here,
    const std::filesystem::path& other,
    const std::function<bool(const std::string& name)>& wanted);

}  // namespace mumoe::run
