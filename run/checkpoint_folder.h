#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"

namespace mumoe::run {

/// The file that makes a folder a checkpoint: it says what else is there.
inline constexpr const char* kManifest = "manifest.json";
/// The only file of a checkpoint of the other form (run/single_file.h).
inline constexpr const char* kStateFile = "state.safetensors";
/// Of checkpoints/best: its loss, which is known after it was saved.
inline constexpr const char* kLossFile = "val_loss.json";
/// The file beside checkpoints that names the newest, for people.
inline constexpr const char* kLatest = "latest";

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

/// Where what already has the name of a checkpoint goes when that is written
/// again: another name of the same step.
std::filesystem::path displaced_path(const std::filesystem::path& folder,
                                     std::int64_t step);

/// Whether a folder is one, whole or not: it has a file of its own kind.
bool is_checkpoint(const std::filesystem::path& folder);

/// Whether a file of a checkpoint is one of those that this program writes.
bool is_file_of_checkpoint(const std::filesystem::path& file);

/// Where it is written first. Only this program makes such names, so what a
/// crash leaves there may be removed.
std::filesystem::path temporary_path(const std::filesystem::path& folder,
                                     std::int64_t step);

/// The checkpoints below `folder`, by step: folders whose name is `step_` and
/// digits and that are checkpoints. None if there is no such folder. Throws
/// `InputError` where it cannot be listed.
std::vector<CheckpointFile> list_checkpoints(
    const std::filesystem::path& folder);

/// The one of the highest step.
std::optional<std::filesystem::path> latest_checkpoint(
    const std::filesystem::path& folder);

/// Names below `folder` that are those of checkpoints after step `after` up to
/// step `last` and are none: somebody's own. A run would meet them at a save.
std::vector<std::string> names_in_the_way(const std::filesystem::path& folder,
                                          std::int64_t after,
                                          std::int64_t last);

/// Removes a checkpoint that holds nothing of others; a crash meanwhile leaves
/// none without its files. Returns which is not removed, and why; empty: it is.
std::string retire_checkpoint(Disk& disk,
                              const std::filesystem::path& folder,
                              const std::filesystem::path& checkpoint);

/// Removes what a crash left half written.
void remove_leftovers(Disk& disk, const std::filesystem::path& folder);

/// Removes what was displaced by another checkpoint of the same step, and the
/// checkpoints of up to `step` steps but for the newest `keep` of them: never
/// that of `step`, which is known to be whole. A checkpoint into which somebody
/// has put files of their own, or that is a link, stays. Returns which one the
/// disk does not let go, and why; empty: none. Throws `InputError` where the
/// folder cannot be listed.
std::string remove_old_checkpoints(Disk& disk,
                                   const std::filesystem::path& folder,
                                   std::int64_t step,
                                   int keep);

/// Removes a folder that holds nothing but what this program writes into a
/// checkpoint; leaves any other. Returns whether it is gone.
bool remove_if_ours(Disk& disk, const std::filesystem::path& checkpoint);

/// Whether a checkpoint could be written below `folder`, which is made if need
/// be: writes a small file there, renames its folder and removes it. Throws
/// `InputError` naming the path and the reason.
void probe_checkpoint_folder(const std::filesystem::path& folder);

}  // namespace mumoe::run
