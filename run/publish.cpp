#include "run/publish.h"

#include "base/error.h"
#include "run/checkpoint_folder.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// For people: programs look at the numbers.
std::string name_latest(Disk& disk, const fs::path& target) {
  const fs::path folder = target.parent_path();
  const fs::path fresh = folder / ".latest.tmp";
  try {
    std::error_code error;
    if (fs::exists(fs::symlink_status(fresh, error))) disk.remove(fresh);
    disk.write_file(fresh, target.filename().string() + "\n");
    disk.rename(fresh, folder / kLatest);
    disk.sync_folder(folder);
    return {};
  } catch (const InputError& error) {
    return error.what();
  }
}

}  // namespace

void begin_checkpoint(Disk& disk,
                      const fs::path& folder,
                      const fs::path& temporary) {
  disk.make_folders(folder);
  remove_leftovers(disk, folder);
  disk.make_folder(temporary);
}

std::string publish_checkpoint(Disk& disk,
                               const fs::path& temporary,
                               const fs::path& target,
                               std::string_view manifest) {
  disk.write_file(temporary / kManifest, manifest);
  disk.sync_folder(temporary);
  const fs::path folder = target.parent_path();
  std::error_code error;
  const bool again = fs::exists(fs::symlink_status(target, error));
  const fs::path displaced =
      displaced_path(folder, step_in_name(target).value_or(0));
  if (again && is_checkpoint(displaced)) {
    // A crash came before it was known whether what is in its place is whole.
    retire_checkpoint(disk, folder, target);
  } else if (again) {
    disk.rename(target, displaced);
  }
  bool renamed = false;
  try {
    disk.rename(temporary, target);
    renamed = true;
    disk.sync_folder(folder);
  } catch (const InputError&) {
    // What might not last must not be found.
    if (renamed) disk.rename(target, temporary);
    if (again) disk.rename(displaced, target);
    throw;
  }
  return name_latest(disk, target);
}

void abandon_checkpoint(Disk& disk,
                        const fs::path& folder,
                        const fs::path& checkpoint) {
  try {
    const auto step = step_in_name(checkpoint);
    if (step && checkpoint == checkpoint_path(folder, *step)) {
      retire_checkpoint(disk, folder, checkpoint);
      const auto left = latest_checkpoint(folder);
      if (left) name_latest(disk, *left);
    } else {
      // Else a name that was taken back could outlast the files.
      disk.sync_folder(folder);
    }
    remove_leftovers(disk, folder);
  } catch (const InputError&) {
    // The next save, or the next run, tries again.
  }
}

}  // namespace mumoe::run
