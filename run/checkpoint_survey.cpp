#include "run/checkpoint_survey.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "run/checkpoint_folder.h"
#include "run/file_survey.h"
#include "run/manifest.h"
#include "run/optimizer_state.h"
#include "run/rebuild.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// Tensors that a line of damage names.
constexpr std::size_t kNamed = 4;

std::string damage_line(const fs::path& folder,
                        const SurveyedFile& file,
                        const std::set<std::string>& tensors) {
  std::string line =
      fmt::format("{}: {}", (folder / file.name).string(), file.damage);
  if (!file.lost && file.damaged_blocks > 1) {
    line += fmt::format(", nor {} other of its {} blocks",
                        file.damaged_blocks - 1,
                        file.blocks);
  }
  if (file.rebuilt) line += "; can be rebuilt from the others";
  const auto last = tensors.size() > kNamed ? std::next(tensors.begin(), kNamed)
                                            : tensors.end();
  if (!tensors.empty()) {
    line +=
        fmt::format("; tensors: {}", fmt::join(tensors.begin(), last, ", "));
  }
  if (tensors.size() > kNamed) {
    line += fmt::format(" and {} others", tensors.size() - kNamed);
  }
  return line;
}

std::vector<SurveyedTensor> tensors_of(const Manifest& manifest, bool verify) {
  std::vector<SurveyedTensor> tensors;
  for (const auto& [name, stored] : manifest.tensors) {
    SurveyedTensor tensor{name, stored.shape, stored.dtype};
    tensor.elements = stored.numel();
    tensor.bytes = stored.bytes();
    if (verify) tensor.values.emplace();
    std::set<std::size_t> files;
    for (const StoredPiece& piece : stored.pieces) {
      if (piece.count == 0) continue;
      ++tensor.pieces;
      files.insert(piece.file);
    }
    for (const auto file : files) {
      tensor.files.push_back(manifest.files[file].name);
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// What each file has of the tensors of `survey`, as it lies.
std::vector<std::vector<Reading>> readings_of(const Manifest& manifest,
                                              CheckpointSurvey& survey,
                                              std::size_t files) {
  std::vector<std::vector<Reading>> by_file(files);
  auto tensor = survey.tensors.begin();
  for (const auto& [name, stored] : manifest.tensors) {
    for (const StoredPiece& piece : stored.pieces) {
      if (piece.count > 0) by_file[piece.file].push_back({&piece, &*tensor});
    }
    ++tensor;
  }
  for (auto& readings : by_file) {
    std::ranges::sort(readings, {}, &Reading::begin);
  }
  return by_file;
}

/// Whether those that are lost can be made of the others.
bool can_be_rebuilt(const Rebuilder& rebuilder,
                    const std::vector<SurveyedFile>& files) {
  std::map<std::size_t, std::string> lost;
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (files[f].lost) lost.emplace(f, files[f].damage);
  }
  try {
    rebuilder.require_rebuildable(lost);
    return true;
  } catch (const DamageError&) {
    return false;
  }
}

void look_at_files(CheckpointSurvey& survey, const Manifest& manifest) {
  Rebuilder rebuilder(survey.folder, manifest);
  const auto by_file = readings_of(manifest, survey, rebuilder.files());
  survey.files.resize(by_file.size());
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    const CheckedFile& file = rebuilder.file(f);
    survey.files[f] = {.name = file.name,
                       .bytes = file.bytes,
                       .blocks = std::ssize(file.blocks),
                       .parity = f >= manifest.files.size()};
    look_for(survey.folder, file, survey.files[f]);
  }
  const bool known = can_be_rebuilt(rebuilder, survey.files);
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    SurveyedFile& found = survey.files[f];
    FileSurvey look(survey.folder, rebuilder.file(f), by_file[f], found);
    if (survey.verified) {
      look.read(rebuilder.of(f));
    } else if (found.lost) {
      found.rebuilt = known;
      if (!known) look.lose_all();
    }
    if (found.damage.empty()) continue;
    survey.damage.push_back(damage_line(survey.folder, found, look.touched()));
  }
  for (SurveyedTensor& each : survey.tensors) {
    if (!each.damage.empty()) each.values.reset();
  }
}

/// Of a checkpoint of which nobody knows what there should be.
std::vector<SurveyedFile> files_in(const fs::path& folder) {
  std::vector<SurveyedFile> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (!is_file_of_checkpoint(entry->path()) ||
        !entry->is_regular_file(ignored)) {
      continue;
    }
    const auto bytes = static_cast<std::int64_t>(entry->file_size(ignored));
    files.push_back({entry->path().filename().string(), bytes});
  }
  std::ranges::sort(files, {}, &SurveyedFile::name);
  return files;
}

/// A kind that no name begins with.
constexpr const char* kBuffers = "buffers";

std::vector<KindTotal> totals_of(const std::vector<SurveyedTensor>& tensors) {
  const std::string master = kMaster;
  std::set<std::string> with_moments;
  for (const SurveyedTensor& tensor : tensors) {
    if (tensor.name.starts_with(master)) continue;
    with_moments.insert(tensor.name.substr(tensor.name.find('.') + 1));
  }
  std::map<std::pair<int, std::string>, KindTotal> totals;
  for (const SurveyedTensor& tensor : tensors) {
    std::string kind = tensor.name.substr(0, tensor.name.find('.'));
    const bool weight = tensor.name.starts_with(master);
    // Weights alone, as `mumoe convert` writes them, have no moments either.
    if (weight && !with_moments.empty() &&
        !with_moments.contains(tensor.name.substr(master.size()))) {
      kind = kBuffers;
    }
    const int order = kind == kBuffers ? 2 : weight ? 0 : 1;
    KindTotal& total = totals[{order, kind}];
    total.kind = kind;
    ++total.tensors;
    total.elements += tensor.elements;
    total.bytes += tensor.bytes;
    if (!tensor.values) continue;
    if (!total.values) total.values.emplace();
    total.values->add(*tensor.values);
  }
  std::vector<KindTotal> all;
  for (auto& [key, total] : totals) all.push_back(std::move(total));
  return all;
}

}  // namespace

std::int64_t CheckpointSurvey::bytes() const {
  std::int64_t all = 0;
  for (const SurveyedFile& file : files) all += file.bytes;
  return all;
}

bool CheckpointSurvey::readable() const {
  return format != 0 &&
         std::ranges::all_of(files, [](const SurveyedFile& file) {
           return file.damage.empty() || file.rebuilt;
         });
}

KindTotal CheckpointSurvey::total() const {
  KindTotal all{"all"};
  for (const KindTotal& total : totals) {
    all.tensors += total.tensors;
    all.elements += total.elements;
    all.bytes += total.bytes;
    if (!total.values) continue;
    if (!all.values) all.values.emplace();
    all.values->add(*total.values);
  }
  return all;
}

CheckpointSurvey survey_checkpoint(const fs::path& folder, bool verify) {
  CheckpointSurvey survey{.folder = folder, .verified = verify};
  try {
    const Manifest manifest = read_manifest(folder);
    std::error_code error;
    survey.format = fs::exists(folder / kManifest, error) ? 2 : 1;
    survey.state = manifest.state;
    survey.mesh = manifest.mesh;
    survey.tensors = tensors_of(manifest, verify);
    look_at_files(survey, manifest);
    survey.totals = totals_of(survey.tensors);
  } catch (const DamageError& error) {
    survey.damage.emplace_back(error.what());
    survey.files = files_in(folder);
  }
  return survey;
}

}  // namespace mumoe::run
