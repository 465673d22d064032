#include "launch/memory.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/number.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

/// The keys of what a sample is.
std::pair<const char*, const char*> sample_keys(const run::Options& options) {
  switch (model::family(options.family).learns_from) {
    case model::LearnsFrom::tokens:
      break;
    case model::LearnsFrom::images:
      return {"model.patch", "model.image_size"};
    case model::LearnsFrom::features:
      return {"model.classes", "model.features"};
  }
  return {"model.vocab", "model.context"};
}

/// Of one sample.
std::int64_t tokens_of(const run::Options& options) {
  std::int64_t most = 0;
  for (const auto& kind : model::family(options.family).mlps(options.model)) {
    most = std::max(most, kind.tokens);
  }
  return most;
}

constexpr const char* kNoNumber = "more was asked for than there is";

/// What stands in `text` between `before` and `after`, if both do.
std::optional<std::string> between(const std::string& text,
                                   std::string_view before,
                                   std::string_view after) {
  const auto found = text.find(before);
  if (found == std::string::npos) return std::nullopt;
  const auto begin = found + before.size();
  const auto end = text.find(after, begin);
  if (end == std::string::npos) return std::nullopt;
  return text.substr(begin, end - begin);
}

/// The number in what LibTorch's allocators say.
std::string asked_for(const std::string& text) {
  if (const auto bytes = between(text, "tried to allocate ", " bytes")) {
    return size_text(std::strtod(bytes->c_str(), nullptr)) +
           " more were asked for";
  }
  // Of CUDA's: "Tried to allocate 20.00 GiB. GPU 0 has ..."
  if (const auto size = between(text, "Tried to allocate ", ". ")) {
    return *size + " more were asked for";
  }
  return kNoNumber;
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

std::optional<std::string> memory_asked_for(const std::exception& error) {
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) {
    const std::string text = torch->what_without_backtrace();
    if (dynamic_cast<const c10::OutOfMemoryError*>(torch) ||
        contains(text, "can't allocate memory") ||
        contains(text, "not enough memory")) {
      return asked_for(text);
    }
    // The number of bytes, or of elements, has more than 64 bits.
    if (contains(text, "size calculation overflowed") ||
        contains(text, "multiplication overflow")) {
      return "more than 8192 PiB were asked for";
    }
    return std::nullopt;
  }
  // Of std::thread: its stack, or one more thread than this user may have.
  if (const auto* system = dynamic_cast<const std::system_error*>(&error);
      system && system->code() == std::errc::resource_unavailable_try_again) {
    return "a further thread was asked for";
  }
  // Of containers; what they say has no number.
  if (dynamic_cast<const std::bad_alloc*>(&error) ||
      dynamic_cast<const std::length_error*>(&error)) {
    return kNoNumber;
  }
  return std::nullopt;
}

void fail_to_measure(const std::exception& error, std::int64_t micro_batch) {
  fail<InputError>(
      "out of memory: {} to measure products of a micro-batch of {} "
      "sample{}, before the model has any; expected {}a GPU that nobody "
      "else is on, or a larger one",
      memory_asked_for(error).value_or("more"),
      micro_batch,
      micro_batch == 1 ? "" : "s",
      micro_batch == 1
          ? ""
          : fmt::format("train.micro_batch below {}, ", micro_batch));
}

void MemoryUse::phase(std::string_view name) {
  if (phase_ == "report") ++steps_;
  phase_ = name;
}

void MemoryUse::settled(const run::Options& options,
                        std::int64_t micro_batch,
                        std::int64_t steps) {
  options_ = options;
  micro_batch_ = micro_batch;
  steps_ = steps;
}

std::string MemoryUse::place() const {
  if (phase_ == "data") return "for the training data";
  if (!options_) return "at the start";
  const auto& m = options_->model;
  const auto values = run::to_map(*options_);
  const auto [first, second] = sample_keys(*options_);
  if (phase_ == "start") {
    return fmt::format(
        "at the start, for weights, gradients and optimizer state (model.depth "
        "= {}, model.width = {}, {} = {}, {} = {}, "
        "model.experts = {}, model.rank = {}); expected a smaller model, or "
        "more ranks to cut it over (parallel.tp)",
        m.depth,
        m.width,
        first,
        values.at(first),
        second,
        values.at(second),
        values.at("model.experts"),
        values.at("model.rank"));
  }
  if (phase_ == "checkpoint") {
    return fmt::format("for the checkpoint after step {}", steps_);
  }
  const std::string where =
      phase_ == "evaluation"
          ? fmt::format("in the evaluation after step {}", steps_)
          : fmt::format("in step {}, phase {}", steps_ + 1, phase_);
  return fmt::format(
      "{}, for the activations of a micro-batch of {} sample{} of {} tokens; "
      "expected {}{}",
      where,
      micro_batch_,
      micro_batch_ == 1 ? "" : "s",
      tokens_of(*options_),
      micro_batch_ == 1
          ? fmt::format("a smaller {}, or a smaller model", second)
          : fmt::format("train.micro_batch below {}", micro_batch_),
      m.recompute == model::Recompute::none ? ", or train.recompute = yes"
      : m.recompute == model::Recompute::mixture
          ? ", or train.recompute = everything"
          : "");
}

void MemoryUse::explain(const std::exception& error) const {
  if (const auto asked = memory_asked_for(error)) {
    fail<InputError>("out of memory: {} {}", *asked, place());
  }
}

void require_room(const run::Options& options,
                  std::int64_t micro_batch,
                  int tp) {
  struct sysinfo machine {};
  if (sysinfo(&machine) != 0) return;
  const double room =
      (static_cast<double>(machine.totalram) + machine.totalswap) *
      machine.mem_unit;
  const auto context = static_cast<double>(tokens_of(options));
  const double tokens = static_cast<double>(micro_batch) * (context + 1);
  const double bytes =
      tokens * sizeof(std::int64_t) +
      tokens * static_cast<double>(options.model.width) * sizeof(float) / tp;
  require(bytes < room,
          "train.micro_batch = {}: its tokens and their residual stream alone "
          "take {}, and this machine has {}; expected less, or a smaller "
          "{} or model.width",
          micro_batch,
          size_text(bytes),
          size_text(room),
          sample_keys(options).second);
}

}  // namespace mumoe::launch
