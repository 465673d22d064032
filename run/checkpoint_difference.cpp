#include "run/checkpoint_difference.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_weights.h"
#include "run/manifest.h"
#include "run/stored_order.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// Elements that are compared at once.
constexpr std::int64_t kChunk = 1 << 20;

std::optional<std::string> value_in(
    const std::map<std::string, std::string>& settings,
    const std::string& key) {
  const auto found = settings.find(key);
  if (found == settings.end()) return std::nullopt;
  return found->second;
}

std::vector<SettingDifference> compare(const RunState& here,
                                       const RunState& other) {
  std::set<std::string> keys;
  for (const auto* settings : {&here.settings, &other.settings}) {
    for (const auto& [key, value] : *settings) keys.insert(key);
  }
  std::vector<SettingDifference> differences;
  for (const auto& key : keys) {
    SettingDifference difference{key,
                                 value_in(here.settings, key),
                                 value_in(other.settings, key)};
    if (difference.here != difference.other) {
      differences.push_back(std::move(difference));
    }
  }
  return differences;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.nbytes() == 0 ||
          std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

std::string form_of(const at::Tensor& tensor) {
  return fmt::format("{} [{}]",
                     dtype_name(tensor.scalar_type()),
                     fmt::join(tensor.sizes().vec(), ", "));
}

/// The numbers of two tensors of one shape.
void measure(const at::Tensor& here,
             const at::Tensor& other,
             TensorDifference& difference) {
  const at::Tensor a = here.flatten(), b = other.flatten();
  double squares = 0, of_here = 0;
  for (std::int64_t begin = 0; begin < a.numel(); begin += kChunk) {
    const std::int64_t count = std::min(kChunk, a.numel() - begin);
    const auto in_fp64 = [&](const at::Tensor& all) {
      return all.narrow(0, begin, count).to(at::kDouble);
    };
    const at::Tensor left = in_fp64(a), right = in_fp64(b);
    const auto* x = left.const_data_ptr<double>();
    const auto* y = right.const_data_ptr<double>();
    for (std::int64_t i = 0; i < count; ++i) {
      if (!std::isfinite(x[i]) || !std::isfinite(y[i])) {
        const bool same =
            x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]));
        difference.non_finite += same ? 0 : 1;
        continue;
      }
      const double off = x[i] - y[i];
      squares += off * off;
      of_here += x[i] * x[i];
      difference.largest = std::max(difference.largest, std::abs(off));
    }
  }
  if (of_here > 0) difference.relative = std::sqrt(squares / of_here);
  if (squares == 0) difference.relative = 0;
}

TensorDifference compare(const std::string& name,
                         WeightFile& here,
                         WeightFile& other) {
  TensorDifference difference{name};
  try {
    const at::Tensor a = here.read(name), b = other.read(name);
    if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) {
      difference.form = fmt::format("{} and {}", form_of(a), form_of(b));
    }
    if (a.sizes() != b.sizes()) return difference;
    difference.equal = same_bits(a, b);
    if (difference.equal) {
      difference.relative = 0;
    } else {
      measure(a, b, difference);
    }
  } catch (const DamageError& error) {
    difference.damage = error.what();
  }
  return difference;
}

}  // namespace

std::int64_t CheckpointDifference::equal() const {
  return std::ranges::count_if(tensors, &TensorDifference::equal);
}

std::vector<std::string> CheckpointDifference::damage() const {
  std::vector<std::string> lines;
  for (const TensorDifference& tensor : tensors) {
    if (!tensor.damage.empty()) lines.push_back(tensor.damage);
  }
  return lines;
}

CheckpointDifference compare_checkpoints(
    const fs::path& here,
    const fs::path& other,
    const std::function<bool(const std::string& name)>& wanted) {
  Manifest left = read_manifest(here), right = read_manifest(other);
  CheckpointDifference difference{here, other};
  difference.here_state = left.state;
  difference.other_state = right.state;
  difference.settings = compare(left.state, right.state);
  std::vector<std::string> common;
  for (const auto& name : stored_order(left)) {
    if (wanted(name) && right.tensors.contains(name)) common.push_back(name);
  }
  for (const auto& [name, tensor] : left.tensors) {
    if (wanted(name) && !right.tensors.contains(name)) {
      difference.only_here.push_back(name);
    }
  }
  for (const auto& [name, tensor] : right.tensors) {
    if (wanted(name) && !left.tensors.contains(name)) {
      difference.only_other.push_back(name);
    }
  }
  const auto a = open_checkpoint_weights(here, std::move(left));
  const auto b = open_checkpoint_weights(other, std::move(right));
  for (const auto& name : common) {
    difference.tensors.push_back(compare(name, *a, *b));
  }
  for (const WeightFile* file : {a.get(), b.get()}) {
    const auto rebuilt = file->rebuilt();
    difference.notes.insert(difference.notes.end(),
                            rebuilt.begin(),
                            rebuilt.end());
  }
  std::ranges::sort(difference.tensors, {}, &TensorDifference::name);
  return difference;
}

}  // namespace mumoe::run
