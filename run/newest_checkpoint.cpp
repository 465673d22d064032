#include "run/newest_checkpoint.h"

#include <fmt/format.h>

#include <ranges>

#include "base/error.h"
#include "run/manifest.h"
#include "run/rebuild.h"

namespace mumoe::run {
namespace {

/// Throws `DamageError` where something is missing that cannot be rebuilt.
NewestCheckpoint look_at(const std::filesystem::path& checkpoint,
                         const Damage& known) {
  if (const auto found = known.find(checkpoint); found != known.end()) {
    throw DamageError(found->second);
  }
  Manifest manifest = read_manifest(checkpoint);
  const Rebuilder rebuilder(checkpoint, manifest);
  std::map<std::size_t, std::string> lost;
  for (std::size_t index = 0; index < rebuilder.files(); ++index) {
    try {
      const CheckedReader there(checkpoint, rebuilder.file(index));
    } catch (const DamageError& error) {
      lost.emplace(index, error.what());
    }
  }
  rebuilder.require_rebuildable(lost);
  NewestCheckpoint whole{checkpoint, manifest.state};
  for (const auto& [index, text] : lost) {
    // The others are told when a rank reads them.
    if (index < manifest.files.size()) continue;
    whole.damage.push_back(
        fmt::format("damaged  {}; no other file can be rebuilt without it: "
                    "mumoe inspect {} --repair yes writes it anew",
                    text,
                    checkpoint.string()));
  }
  return whole;
}

}  // namespace

std::optional<NewestCheckpoint> newest_checkpoint(
    const std::filesystem::path& folder,
    const Damage& known,
    std::int64_t most) {
  const auto all = list_checkpoints(folder);
  std::vector<std::string> damaged;
  for (const CheckpointFile& checkpoint : std::views::reverse(all)) {
    if (checkpoint.step > most) continue;
    try {
      NewestCheckpoint newest = look_at(checkpoint.path, known);
      for (const auto& text : damaged) {
        newest.damage.push_back(
            fmt::format("damaged  {}; {} is taken instead",
                        text,
                        checkpoint.path.filename().string()));
      }
      return newest;
    } catch (const DamageError& error) {
      damaged.emplace_back(error.what());
    }
  }
  if (damaged.empty()) return std::nullopt;
  fail<DamageError>("{}{}",
                    damaged.front(),
                    damaged.size() == 1
                        ? "; there is no other checkpoint"
                        : fmt::format("; none of the {} others is whole",
                                      damaged.size() - 1));
}

}  // namespace mumoe::run
