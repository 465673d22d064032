#include "run/checkpoint_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kTemporary = ".tmp";

/// The step of a name that is `step_` and digits.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const bool digits =
      std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
  std::int64_t step = 0;
  const auto [stop, error] =
      std::from_chars(name.data(), name.data() + name.size(), step);
  const bool whole = stop == name.data() + name.size();
  if (!digits || error != std::errc() || !whole) return std::nullopt;
  return step;
}

std::string name_of(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

/// Entries of a folder, in order; none of what is no folder.
std::vector<fs::path> entries_of(const fs::path& folder,
                                 std::error_code& error) {
  std::vector<fs::path> found;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    found.push_back(entry->path());
  }
  if (error == std::errc::no_such_file_or_directory ||
      error == std::errc::not_a_directory) {
    error.clear();
  }
  std::ranges::sort(found);
  return found;
}

/// The same. What cannot be listed is not empty: checkpoints may be there.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  auto found = entries_of(folder, error);
  require(!error, "{}: cannot list: {}", folder.string(), error.message());
  return found;
}

/// What `temporary_path` returns for some step.
bool is_temporary(std::string_view name) {
  if (!name.starts_with('.') || !name.ends_with(kTemporary)) return false;
  name.remove_prefix(1);
  name.remove_suffix(kTemporary.size());
  return step_of(name).has_value();
}

/// Whether `name` is `begin`, digits and `end`.
bool is_numbered(std::string_view name,
                 std::string_view begin,
                 std::string_view end) {
  if (name.size() <= begin.size() + end.size() || !name.starts_with(begin) ||
      !name.ends_with(end)) {
    return false;
  }
  name.remove_prefix(begin.size());
  name.remove_suffix(end.size());
  return std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether this program writes files of that name into checkpoints.
bool is_our_file(std::string_view name) {
  // As an `AtomicFile` writes it first.
  if (const auto dot = name.find(".mumoe-"); dot != name.npos) {
    if (!name.substr(dot).ends_with(".tmp")) return false;
    name = name.substr(0, dot);
  }
  return name == kManifest || name == kStateFile || name == kLossFile ||
         is_numbered(name, "rank_", ".safetensors") ||
         is_numbered(name, "parity_", ".bin");
}

/// Whether a folder, and no link to one, holds nothing but files of ours.
bool is_ours(const fs::path& checkpoint) {
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(checkpoint, error))) return false;
  const auto files = entries_of(checkpoint, error);
  return !error && std::ranges::all_of(files, [](const fs::path& file) {
    return is_our_file(file.filename().native());
  });
}

void remove_files(Disk& disk, const fs::path& checkpoint) {
  for (const fs::path& file : entries_of(checkpoint)) disk.remove(file);
  disk.remove(checkpoint);
}

}  // namespace

bool is_checkpoint(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kManifest, error) ||
      fs::exists(folder / kStateFile, error)) {
    return true;
  }
  const auto files = entries_of(folder, error);
  return std::ranges::any_of(files, [](const fs::path& file) {
    return is_numbered(file.filename().native(), "rank_", ".safetensors");
  });
}

bool is_file_of_checkpoint(const fs::path& file) {
  return is_our_file(file.filename().native());
}

std::optional<std::int64_t> step_in_name(const fs::path& checkpoint) {
  return step_of(checkpoint.filename().native());
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
  return folder / name_of(step);
}

fs::path displaced_path(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format("{}0{:08}", kPrefix, step);
}

fs::path temporary_path(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format(".{}{}", name_of(step), kTemporary);
}

std::vector<CheckpointFile> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointFile> found;
  for (const fs::path& path : entries_of(folder)) {
    const auto step = step_of(path.filename().native());
    if (step && is_checkpoint(path)) {
      found.push_back({*step, path});
    }
  }
  // Of two names of one step, the program's own comes last.
  std::ranges::stable_sort(found, [](const auto& a, const auto& b) {
    if (a.step != b.step) return a.step < b.step;
    return a.path.filename() != name_of(a.step) &&
           b.path.filename() == name_of(b.step);
  });
  return found;
}

std::optional<fs::path> latest_checkpoint(const fs::path& folder) {
  const auto all = list_checkpoints(folder);
  if (all.empty()) return std::nullopt;
  return all.back().path;
}

std::vector<std::string> names_in_the_way(const fs::path& folder,
                                          std::int64_t after,
                                          std::int64_t last) {
  std::vector<std::string> names;
  for (const fs::path& path : entries_of(folder)) {
    const std::string name = path.filename().string();
    const auto step = step_of(name);
    if (step && *step > after && *step <= last && name == name_of(*step) &&
        !is_checkpoint(path)) {
      names.push_back(name);
    }
  }
  return names;
}

bool remove_if_ours(Disk& disk, const fs::path& checkpoint) {
  if (!is_ours(checkpoint)) return false;
  try {
    remove_files(disk, checkpoint);
    return true;
  } catch (const InputError&) {
    return false;  // what stays is in nobody's way
  }
}

std::string retire_checkpoint(Disk& disk,
                              const fs::path& folder,
                              const fs::path& checkpoint) {
  // Not where one of the same step is written.
  const fs::path doomed =
      folder /
      fmt::format(".{}{}",
                  displaced_path(folder, step_in_name(checkpoint).value_or(0))
                      .filename()
                      .string(),
                  kTemporary);
  try {
    disk.rename(checkpoint, doomed);
    // Else the name could outlast the files.
    disk.sync_folder(folder);
    if (is_ours(doomed)) remove_files(disk, doomed);
    return {};
  } catch (const InputError& error) {
    return fmt::format("{} is not removed: {}",
                       checkpoint.string(),
                       error.what());
  }
}

void remove_leftovers(Disk& disk, const fs::path& folder) {
  for (const fs::path& path : entries_of(folder)) {
    if (is_temporary(path.filename().native())) remove_if_ours(disk, path);
  }
}

std::string remove_old_checkpoints(Disk& disk,
                                   const fs::path& folder,
                                   std::int64_t step,
                                   int keep) {
  std::string reason;
  const auto retire = [&](const fs::path& checkpoint) {
    const std::string one = retire_checkpoint(disk, folder, checkpoint);
    if (reason.empty()) reason = one;
  };
  for (const fs::path& path : entries_of(folder)) {
    const auto displaced_step = step_in_name(path);
    if (displaced_step && path == displaced_path(folder, *displaced_step) &&
        is_checkpoint(checkpoint_path(folder, *displaced_step)) &&
        is_ours(path)) {
      retire(path);
    }
  }
  auto all = list_checkpoints(folder);
  std::erase_if(all, [&](const CheckpointFile& file) {
    return file.step > step || (file.path.filename() != name_of(file.step) &&
                                file.path != displaced_path(folder, file.step));
  });
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size();
       ++i) {
    if (is_ours(all[i].path)) retire(all[i].path);
  }
  return reason;
}

void probe_checkpoint_folder(const fs::path& folder) {
  std::error_code error;
  try {
    real_disk().make_folders(folder);
  } catch (const InputError& reason) {
    fail<InputError>("{}: checkpoints cannot be written here: {}",
                     folder.string(),
                     reason.what());
  }
  const fs::path written = folder / ".probe.tmp", renamed = folder / ".probe";
  const auto clean = [&] {
    for (const fs::path& path : {written, renamed}) {
      remove_if_ours(real_disk(), path);
    }
  };
  clean();  // of a run that crashed here
  try {
    fs::create_directory(written, error);
    require(!error, "{}: cannot create: {}", written.string(), error.message());
    write_file_atomically(written / kManifest, "a checkpoint would fit here");
    fs::rename(written, renamed, error);
    require(!error, "{}: cannot rename: {}", renamed.string(), error.message());
  } catch (const InputError& reason) {
    clean();
    fail<InputError>("{}: checkpoints cannot be written here: {}",
                     folder.string(),
                     reason.what());
  }
  clean();
}

}  // namespace mumoe::run
