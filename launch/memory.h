#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "dist/watch/observer.h"
#include "run/options.h"

namespace mumoe::launch {

/// If `error` says that memory could not be had, how much was asked for: "12.3
/// GiB more were asked for", or without a number where it tells none.
std::optional<std::string> memory_asked_for(const std::exception& error);

/// Throws `InputError`: the memory that `error` says was not to be had was
/// wanted to measure a GPU at a micro-batch of so many samples.
[[noreturn]] void fail_to_measure(const std::exception& error,
                                  std::int64_t micro_batch);

/// What `measure` returns, of a GPU at a micro-batch. Throws `InputError` where
/// memory runs out in it, which is not the model's: that has none yet.
template <class F>
auto with_room_on_gpu(std::int64_t micro_batch, const F& measure) {
  try {
    return measure();
  } catch (const c10::OutOfMemoryError& error) {
    fail_to_measure(error, micro_batch);
  }
}

/// What a training run allocates where, for the line that says that memory ran
/// out. Must outlive the mesh that it observes.
class MemoryUse final : public dist::Observer {
 public:
  void phase(std::string_view name) override;
  /// What is settled before the first step, and after how many steps that is.
  /// `micro_batch`: samples that a rank holds at once.
  void settled(const run::Options& options,
               std::int64_t micro_batch,
               std::int64_t steps);
  /// Throws `InputError`, with what was being allocated and which keys make it
  /// less, when `error` says that memory could not be had.
  void explain(const std::exception& error) const;

 private:
  std::string place() const;

  std::string phase_ = "start";
  std::optional<run::Options> options_;
  std::int64_t micro_batch_ = 0;
  std::int64_t steps_ = 0;
};

/// Throws `InputError` when a micro-batch of `micro_batch` samples takes more
/// than all memory of this machine, by what is certain: its tokens and one
/// residual stream. The kernel would grant it, and kill the process later.
void require_room(const run::Options& options,
                  std::int64_t micro_batch,
                  int tp);

}  // namespace mumoe::launch
