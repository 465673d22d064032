#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace mumoe::data {

/// Numbers of a batch, row-major, one row a sample.
using Rows = std::variant<std::vector<std::int32_t>, std::vector<float>>;

/// Samples side by side, as a model takes them: what it sees, and what it
/// should say of it.
struct HostBatch {
  std::int64_t samples = 0;
  Rows input;
  Rows target;
  /// Where it was taken from a run's sequence (data/sequence.h): the numbers of
  /// the samples in the run, and the indices that these are. Else empty.
  std::vector<std::uint64_t> numbers = {};
  std::vector<std::uint64_t> indices = {};
};

struct Attributes;

/// What a model learns from, apart from the order in which it does
/// (data/order.h). Immutable; safe to use from many threads.
class Samples {
 public:
  virtual ~Samples() = default;

  /// Samples of an epoch, at least 1.
  virtual std::uint64_t size() const = 0;
  /// Terms that one sample adds to the loss.
  virtual std::int64_t targets_per_sample() const = 0;
  /// The samples `indices`, in that order. Index i is item i mod size() in
  /// epoch i / size(), which may give it another look; it is the same at every
  /// call.
  virtual HostBatch make(std::span<const std::uint64_t> indices) const = 0;
  /// What is true of each of the size() items (data/attributes.h); null:
  /// nothing is known.
  virtual const Attributes* attributes() const { return nullptr; }
};

}  // namespace mumoe::data
