#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "base/error.h"
#include "run/import_weights.h"
#include "run/vit_names.h"

namespace mumoe::run {
namespace {

constexpr const char* kTiedHead = "lm_head.weight";
constexpr const char* kEmbedding = "transformer.wte.weight";

/// Whether `file` has all of `tensors`, as they are.
bool has(const WeightFile& file, const std::vector<ForeignTensor>& tensors) {
  return std::ranges::all_of(tensors, [&](const ForeignTensor& tensor) {
    const auto* entry = file.find(tensor.name);
    return entry != nullptr && entry->shape == tensor.shape;
  });
}

/// Without a head that the weights have not, or otherwise: a ViT's, which
/// begins anew then.
std::vector<ForeignTensor> tensors_of(const OpenedWeights& weights,
                                      const dist::ParameterRegistry& registry) {
  if (!is_vit(registry)) return foreign_tensors(weights.format, registry);
  auto rest = foreign_tensors(weights.format, registry, kVitHead);
  try {
    auto all = foreign_tensors(weights.format, registry);
    const std::vector<ForeignTensor> head(
        all.begin() + static_cast<std::ptrdiff_t>(rest.size()),
        all.end());
    return has(*weights.file, head) ? all : rest;
  } catch (const InputError&) {  // the format has no names for such a head
    return rest;
  }
}

/// As it begins (`dist::initialise_slice`).
at::Tensor drawn(const dist::Parameter& p, std::uint64_t seed) {
  const CounterRandom random(seed, Purpose::parameter_init, hash_name(p.name));
  const at::Tensor values = at::empty(p.global_shape, at::kDouble);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    values.data_ptr<double>()[i] =
        p.init(random, static_cast<std::uint64_t>(i));
  }
  return values;
}

}  // namespace

WeightImport::WeightImport(const OpenedWeights& weights,
                           const dist::ParameterRegistry& registry,
                           std::uint64_t seed)
    : weights_(weights),
      registry_(registry),
      seed_(seed),
      tensors_(tensors_of(weights, registry)),
      places_(registry.parameters().size(), {kDrawn, {}}) {
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    for (const auto& [index, location] : tensors_[t].pieces) {
      places_[index] = {t, location};
    }
  }
  require_tensors();
  require_no_others();
  require_tied_head();
}

void WeightImport::require_tensors() const {
  for (const ForeignTensor& tensor : tensors_) {
    const auto* entry = weights_.file->find(tensor.name);
    require(entry != nullptr,
            "{}: no tensor is named {}, expected with shape [{}]",
            weights_.path.string(),
            tensor.name,
            fmt::join(tensor.shape, ", "));
    require(entry->shape == tensor.shape,
            "{}: tensor {} has shape [{}], expected [{}]",
            entry->file.string(),
            entry->stored_name,
            fmt::join(entry->shape, ", "),
            fmt::join(tensor.shape, ", "));
  }
}

void WeightImport::require_no_others() const {
  std::set<std::string> known = {kTiedHead};
  const std::string head =
      (weights_.format == WeightFormat::run ? "master." : "") +
      std::string(kVitHead);
  for (const ForeignTensor& tensor : tensors_) known.insert(tensor.name);
  for (const auto& [name, entry] : weights_.file->entries()) {
    // Moments of an optimizer; the mask that older GPT-2s keep, and what a
    // batch norm counts.
    const bool aside = weights_.format == WeightFormat::run
                           ? !name.starts_with("master.")
                           : name.ends_with(".attn.bias") ||
                                 name.ends_with(".attn.masked_bias") ||
                                 name.ends_with(".num_batches_tracked");
    const bool other_head = draws_head() && name.starts_with(head);
    require(aside || other_head || known.contains(name),
            "{}: tensor {} with shape [{}] has no place in this model; "
            "expected it not to be there",
            entry.file.string(),
            entry.stored_name,
            fmt::join(entry.shape, ", "));
  }
}

void WeightImport::require_tied_head() const {
  const auto* head = weights_.file->find(kTiedHead);
  if (head == nullptr || weights_.file->find(kEmbedding) == nullptr) return;
  require(
      at::equal(weights_.file->read(kTiedHead),
                weights_.file->read(kEmbedding)),
      "{}: tensor {} is not {}; expected an output head that is tied to the "
      "embedding",
      head->file.string(),
      head->stored_name,
      kEmbedding);
}

at::Tensor WeightImport::parameter(std::size_t index) {
  const auto& [tensor, location] = places_.at(index);
  if (tensor == kDrawn) return drawn(registry_.parameters()[index], seed_);
  if (!last_.defined() || read_ != tensor) {
    last_ = weights_.file->read(tensors_[tensor].name);
    read_ = tensor;
  }
  return from_theirs(location, registry_.parameters()[index], last_);
}

bool WeightImport::draws_head() const {
  return std::ranges::any_of(places_, [](const Place& place) {
    return place.tensor == kDrawn;
  });
}

std::vector<std::string> WeightImport::notes() const {
  if (!draws_head()) return {};
  return {
      fmt::format("{}: has no head of this kind, number of classes and size: "
                  "it begins anew",
                  weights_.path.string())};
}

std::vector<std::string> import_weights(const OpenedWeights& weights,
                                        dist::FlatBuckets& buckets,
                                        std::uint64_t seed) {
  WeightImport import(weights, buckets.registry(), seed);
  const at::NoGradGuard no_grad;
  for (const auto& bucket : buckets.buckets()) {
    for (const auto& entry : bucket.entries) {
      buckets.assign(import.parameter(entry.parameter), bucket, entry);
    }
  }
  return import.notes();
}

}  // namespace mumoe::run
