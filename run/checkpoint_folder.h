#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mumoe::run {

/// The file that makes a folder a checkpoint.
inline constexpr const char* kStateFile = "state.safetensors";

// The folder checkpoints/ of a run holds step_XXXXXXXX/ folders, and whatever a
// person puts beside them: only `step_` and digits count, and only what this
// program made is ever removed.

/// A checkpoint on disk.
struct CheckpointFile {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// Where the checkpoint of `step` lies below `folder`.
std::filesystem::path checkpoint_path(const std::filesystem::path& folder,
                                      std::int64_t step);

/// The step in the name of a checkpoint, if it is `step_` and digits.
std::optional<std::int64_t> step_in_name(
    const std::filesystem::path& checkpoint);

/// Where it is written first. Only this program makes such names, so what a
/// crash leaves there may be removed.
std::filesystem::path temporary_path(const std::filesystem::path& folder,
                                     std::int64_t step);

/// The checkpoints below `folder`, by step: folders whose name is `step_` and
/// digits and that hold a state file. None if there is no such folder. Throws
/// `InputError` where it cannot be listed.
std::vector<CheckpointFile> list_checkpoints(
    const std::filesystem::path& folder);

/// The one of the highest step.
std::optional<std::filesystem::path> latest_checkpoint(
    const std::filesystem::path& folder);

/// Names below `folder` that are those of checkpoints after step `after` up to
/// step `last` and have no state file: damaged, or somebody's own. A run would
/// meet them at a save.
std::vector<std::string> names_in_the_way(const std::filesystem::path& folder,
                                          std::int64_t after,
                                          std::int64_t last);

/// Removes what a crash left half written, and the checkpoints of up to `step`
/// steps but for the newest `keep` of them: never that of `step`. A checkpoint
/// into which somebody has put files of their own, or that is a link, stays.
void remove_old_checkpoints(const std::filesystem::path& folder,
                            std::int64_t step,
                            int keep);

/// Removes a folder that holds nothing but what this program writes into a
/// checkpoint; leaves any other. Returns whether it is gone.
bool remove_if_ours(const std::filesystem::path& checkpoint);

/// Whether a checkpoint could be written below `folder`, which is made if need
/// be: writes a small one, renames it and removes it. Throws `InputError`
/// naming the path and the reason.
void probe_checkpoint_folder(const std::filesystem::path& folder);

}  // namespace mumoe::run
