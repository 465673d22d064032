#include "run/named_checkpoint.h"

#include <utility>

#include "base/error.h"
#include "run/checkpoint_folder.h"
#include "run/newest_checkpoint.h"

namespace mumoe::run {

namespace fs = std::filesystem;

bool is_run(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path / "checkpoints", error);
}

NamedCheckpoint named_checkpoint(const fs::path& path, const Damage& known) {
  std::error_code error;
  require(fs::exists(path, error), "{}: is not there", path.string());
  if (is_run(path)) {
    auto newest = newest_checkpoint(path / "checkpoints", known);
    require(newest.has_value(), "{}: holds no checkpoint", path.string());
    return {std::move(newest->path), std::move(newest->damage)};
  }
  const auto name = path.filename();
  if (name == kManifest || name == kStateFile) {
    const fs::path folder = path.parent_path();
    return {folder.empty() ? "." : folder};
  }
  require(is_checkpoint(path),
          "{}: is neither a run directory nor a checkpoint; expected a folder "
          "with checkpoints, {} or {}",
          path.string(),
          kManifest,
          kStateFile);
  return {path};
}

}  // namespace mumoe::run
