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

/// Whether a folder, and no link to one, holds nothing but a state file, whole
/// or under the name that it is first written by.
bool is_ours(const fs::path& checkpoint) {
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(checkpoint, error))) return false;
  const auto files = entries_of(checkpoint, error);
  return !error && std::ranges::all_of(files, [](const fs::path& file) {
    return file.filename().native().starts_with(kStateFile);
  });
}

}  // namespace

std::optional<std::int64_t> step_in_name(const fs::path& checkpoint) {
  return step_of(checkpoint.filename().native());
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
  return folder / name_of(step);
}

fs::path temporary_path(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format(".{}{}", name_of(step), kTemporary);
}

std::vector<CheckpointFile> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointFile> found;
  std::error_code error;
  for (const fs::path& path : entries_of(folder)) {
    const auto step = step_of(path.filename().native());
    if (step && fs::exists(path / kStateFile, error)) {
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
  std::error_code error;
  for (const fs::path& path : entries_of(folder)) {
    const std::string name = path.filename().string();
    const auto step = step_of(name);
    if (step && *step > after && *step <= last && name == name_of(*step) &&
        !fs::exists(path / kStateFile, error)) {
      names.push_back(name);
    }
  }
  return names;
}

bool remove_if_ours(const fs::path& checkpoint) {
  std::error_code error;
  if (!is_ours(checkpoint)) return false;
  for (const fs::path& file : entries_of(checkpoint)) fs::remove(file, error);
  return fs::remove(checkpoint, error);
}

void remove_old_checkpoints(const fs::path& folder,
                            std::int64_t step,
                            int keep) {
  for (const fs::path& path : entries_of(folder)) {
    if (is_temporary(path.filename().native())) remove_if_ours(path);
  }
  auto all = list_checkpoints(folder);
  std::erase_if(all, [&](const CheckpointFile& file) {
    return file.step > step || file.path.filename() != name_of(file.step);
  });
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size();
       ++i) {
    if (!is_ours(all[i].path)) continue;
    // A crash now leaves no checkpoint without its file.
    const fs::path doomed = temporary_path(folder, all[i].step);
    std::error_code error;
    fs::rename(all[i].path, doomed, error);
    if (!error) remove_if_ours(doomed);
  }
}

void probe_checkpoint_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error && fs::is_directory(folder, error),
          "{}: checkpoints cannot be written here: {}",
          folder.string(),
          error ? error.message() : "it is not a folder");
  const fs::path written = folder / ".probe.tmp", renamed = folder / ".probe";
  const auto clean = [&] {
    for (const fs::path& path : {written, renamed}) remove_if_ours(path);
  };
  clean();  // of a run that crashed here
  try {
    fs::create_directory(written, error);
    require(!error, "{}: cannot create: {}", written.string(), error.message());
    write_file_atomically(written / kStateFile, "a checkpoint would fit here");
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
