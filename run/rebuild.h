#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/disk.h"
#include "dist/communicator.h"
#include "run/checked_file.h"
#include "run/manifest.h"
#include "run/parity.h"

namespace mumoe::run {

/// "parity_00003.bin"
std::string parity_name(int rank);

/// Writes parity file `rank` of `files`, which are there whole, into `folder`,
/// synced but for its name. Holds two blocks in memory. Throws `InputError`;
/// `DamageError` naming a file that is not as it was written.
CheckedFile write_parity(Disk& disk,
                         const std::filesystem::path& folder,
                         int rank,
                         std::span<const CheckedFile> files);

/// Blocks that were not in their files as they were written, and were rebuilt:
/// by name of the file and number of the block, what was wrong.
using RebuiltBlocks =
    std::map<std::string, std::map<std::int64_t, std::string>>;

/// A line for each file.
std::vector<std::string> rebuilt_lines(const RebuiltBlocks& blocks);

/// Those of all ranks. Collective.
RebuiltBlocks gather_rebuilt(dist::Communicator& world,
                             const RebuiltBlocks& here);

/// Gives readers of a checkpoint's files the blocks that are damaged, made of
/// the other files and their parity in memory. Not thread-safe.
class Rebuilder {
 public:
  /// `manifest` must outlive it.
  Rebuilder(std::filesystem::path checkpoint, const Manifest& manifest);

  /// The manifest's files, and after them those of parity.
  std::size_t files() const;
  const CheckedFile& file(std::size_t index) const;
  /// What the reader of a file is to do about damage; it must not outlive this.
  /// Null where no parity was written: nothing.
  Rebuild of(std::size_t index);
  /// What was rebuilt so far.
  const RebuiltBlocks& rebuilt() const { return rebuilt_; }
  /// Throws `DamageError` naming two of the files that are `lost`, by index,
  /// with what is wrong, unless each can be rebuilt from the others.
  void require_rebuildable(
      const std::map<std::size_t, std::string>& lost) const;

 private:
  std::string block(std::size_t index,
                    std::int64_t number,
                    const std::string& damage);

  std::filesystem::path checkpoint_;
  const Manifest& manifest_;
  RebuiltBlocks rebuilt_;
};

}  // namespace mumoe::run
