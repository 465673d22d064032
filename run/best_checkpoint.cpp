#include "run/best_checkpoint.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// The loss cannot be in the state file, which is saved before the evaluation.
constexpr const char* kLossFile = "val_loss.json";

void link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::remove(to, error);
  fs::create_hard_link(from, to, error);
  if (!error) return;
  fs::copy_file(from, to, error);
  require(!error, "{}: cannot write: {}", to.string(), error.message());
  sync_to_disk(to);
}

}  // namespace

std::optional<BestCheckpoint> read_best(const fs::path& folder) {
  const fs::path best = folder / kBestName;
  std::error_code error;
  if (!fs::exists(best / kStateFile, error) ||
      !fs::exists(best / kLossFile, error)) {
    return std::nullopt;
  }
  const std::string file = (best / kLossFile).string();
  const auto json = parse_json(read_file(best / kLossFile), file);
  const bool whole = json.is_object() && json.contains("step") &&
                     as_count(json["step"]) && json.contains("val_loss") &&
                     json["val_loss"].is_number();
  require(whole, "{}: expected a step and a val_loss", file);
  const BestCheckpoint found{*as_count(json["step"]), json["val_loss"]};
  const auto state = read_safetensors_metadata(best / kStateFile);
  const auto step = state.find("step");
  const bool of_state =
      step != state.end() && step->second == std::to_string(found.step);
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
  const fs::path target = folder / kBestName;
  require_place_for_best(folder);
  std::error_code error;
  fs::create_directory(target, error);
  require(!error, "{}: cannot create: {}", target.string(), error.message());
  // `remove_if_ours` knows names that begin as the state file's does.
  fs::path fresh = target / kStateFile;
  fresh += ".new";
  link_or_copy(checkpoint_path(folder, best.step) / kStateFile, fresh);
  fs::rename(fresh, target / kStateFile, error);
  require(!error, "{}: cannot rename: {}", fresh.string(), error.message());
  fs::remove(fresh, error);  // two names of one file are left as they are
  sync_to_disk(target);
  sync_to_disk(folder);
  const nlohmann::json loss = {{"step", best.step},
                               {"val_loss", best.val_loss}};
  write_file_atomically(target / kLossFile, to_text(loss) + "\n");
}

}  // namespace mumoe::run
