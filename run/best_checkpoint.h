#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace mumoe::run {

/// The folder beside a run's checkpoints that holds the one of the lowest
/// validation loss.
inline constexpr const char* kBestName = "best";

/// Which one that is.
struct BestCheckpoint {
  std::int64_t step = 0;
  double val_loss = 0;  ///< Nats a target.
};

/// What `folder`/best says of itself; nothing where there is none. One that a
/// crash caught between two names gets its own back. Throws `InputError` naming
/// a file that cannot be read.
std::optional<BestCheckpoint> read_best(const std::filesystem::path& folder);

/// Throws `InputError` where a link or a file has the name of `folder`/best.
void require_place_for_best(const std::filesystem::path& folder);

/// Makes the checkpoint of `best.step`, which is there, the best: its files get
/// second names (copies, where the file system has no hard links) in
/// `folder`/best, at once and durably, so that nothing that is removed later
/// takes them away. Throws `InputError`, also where a link or a file has that
/// name.
void keep_best(const std::filesystem::path& folder, const BestCheckpoint& best);

}  // namespace mumoe::run
