#include "run/best_checkpoint.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "run/checkpoint_folder.h"
#include "run/manifest.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

void link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (!error) return;
  fs::copy_file(from, to, error);
  require(!error, "{}: cannot write: {}", to.string(), error.message());
  sync_to_disk(to);
}

/// What the new one is called before it has its name, and the old one after.
fs::path in_the_making(const fs::path& folder) {
  return folder / ".best.tmp";
}
fs::path replaced(const fs::path& folder) {
  return folder / ".best.old";
}

void rename_durably(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  require(!error, "{}: cannot rename: {}", to.string(), error.message());
  sync_to_disk(to.parent_path());
}

/// Gives back its name to one that a crash caught between two names.
void restore(const fs::path& folder) {
  std::error_code error;
  if (!is_checkpoint(folder / kBestName) && is_checkpoint(replaced(folder)) &&
      !fs::exists(fs::symlink_status(folder / kBestName, error))) {
    rename_durably(replaced(folder), folder / kBestName);
  }
}

}  // namespace

std::optional<BestCheckpoint> read_best(const fs::path& folder) {
  restore(folder);
  const fs::path best = folder / kBestName;
  std::error_code error;
  if (!is_checkpoint(best) || !fs::exists(best / kLossFile, error)) {
    return std::nullopt;
  }
  const std::string file = (best / kLossFile).string();
  const auto json = parse_json(read_file(best / kLossFile), file);
  const bool whole = json.is_object() && json.contains("step") &&
                     as_count(json["step"]) && json.contains("val_loss") &&
                     json["val_loss"].is_number();
  require(whole, "{}: expected a step and a val_loss", file);
  const BestCheckpoint found{*as_count(json["step"]), json["val_loss"]};
  const bool of_state = read_run_state(best).step == found.step;
  return of_state ? std::optional(found) : std::nullopt;
}

void require_place_for_best(const fs::path& folder) {
  const fs::path best = folder / kBestName;
  std::error_code error;
  const auto type = fs::symlink_status(best, error).type();
  require(type == fs::file_type::directory || type == fs::file_type::not_found,
          "{}: is in the place of the best checkpoint and no folder; expected "
          "it to "
          "be moved away",
          best.string());
}

void keep_best(const fs::path& folder, const BestCheckpoint& best) {
  require_place_for_best(folder);
  restore(folder);
  const fs::path fresh = in_the_making(folder), old = replaced(folder);
  for (const fs::path& left : {fresh, old}) remove_if_ours(real_disk(), left);
  real_disk().make_folder(fresh);
  std::error_code error;
  const fs::path state = checkpoint_path(folder, best.step);
  for (fs::directory_iterator file(state, error);
       !error && file != fs::directory_iterator();
       file.increment(error)) {
    if (!is_file_of_checkpoint(file->path())) continue;
    link_or_copy(file->path(), fresh / file->path().filename());
  }
  require(!error, "{}: cannot list: {}", state.string(), error.message());
  const nlohmann::json loss = {{"step", best.step},
                               {"val_loss", best.val_loss}};
  write_file_atomically(fresh / kLossFile, to_text(loss) + "\n");
  sync_to_disk(fresh);
  const fs::path target = folder / kBestName;
  if (fs::exists(target, error)) rename_durably(target, old);
  rename_durably(fresh, target);
  remove_if_ours(real_disk(), old);
}

}  // namespace mumoe::run
