#include "run/repair.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "run/manifest.h"
#include "run/rebuild.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// As `is_file_of_checkpoint` knows files that are not whole yet.
constexpr const char* kSuffix = ".mumoe-repair.tmp";

/// What is wrong with a file; nothing: it is whole.
std::optional<std::string> damage_of(const fs::path& checkpoint,
                                     const CheckedFile& file) {
  try {
    CheckedReader(checkpoint, file).check();
    return std::nullopt;
  } catch (const DamageError& error) {
    return error.what();
  }
}

void remove_if_there(Disk& disk, const fs::path& file) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(file, error))) disk.remove(file);
}

/// Writes file `index` as `name`, and reads it again.
void write_again(Disk& disk,
                 const fs::path& checkpoint,
                 Rebuilder& rebuilder,
                 std::size_t index,
                 const std::string& name) {
  const CheckedFile& file = rebuilder.file(index);
  CheckedReader reader(checkpoint, file, rebuilder.of(index));
  Disk::File fresh(disk, checkpoint / name);
  std::string block;
  for (std::int64_t begin = 0; begin < file.bytes; begin += kBlockBytes) {
    block.resize(
        static_cast<std::size_t>(std::min(kBlockBytes, file.bytes - begin)));
    reader.read(begin, block, {});
    fresh.write(block);
  }
  fresh.sync();
  disk.forget(checkpoint / name);
  CheckedFile same = file;
  same.name = name;
  CheckedReader(checkpoint, same).check();
}

void repair_file(Disk& disk,
                 const fs::path& checkpoint,
                 Rebuilder& rebuilder,
                 std::size_t index) {
  const std::string& name = rebuilder.file(index).name;
  const fs::path fresh = checkpoint / (name + kSuffix);
  remove_if_there(disk, fresh);
  try {
    write_again(disk, checkpoint, rebuilder, index, name + kSuffix);
    // Another file: that of the old name may have a second one in best/.
    disk.rename(fresh, checkpoint / name);
  } catch (const InputError&) {
    try {
      remove_if_there(disk, fresh);
    } catch (const InputError&) {
      // It is in nobody's way; the first error tells more.
    }
    throw;
  }
  disk.sync_folder(checkpoint);
}

}  // namespace

std::vector<std::string> repair_checkpoint(const fs::path& checkpoint,
                                           Disk& disk) {
  const Manifest manifest = read_manifest(checkpoint);
  Rebuilder rebuilder(checkpoint, manifest);
  std::vector<std::string> lines;
  for (std::size_t index = 0; index < rebuilder.files(); ++index) {
    const auto damage = damage_of(checkpoint, rebuilder.file(index));
    if (!damage) continue;
    if (manifest.parity.empty()) {
      fail<DamageError>(
          "{}; cannot be rebuilt: the checkpoint was written with "
          "checkpoint.parity = 0",
          *damage);
    }
    repair_file(disk, checkpoint, rebuilder, index);
    lines.push_back(fmt::format("repaired {}", *damage));
  }
  return lines;
}

}  // namespace mumoe::run
