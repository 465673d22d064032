#include "run/checkpoint_survey.h"

#include <ATen/Dispatch.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "run/checkpoint_folder.h"
#include "run/manifest.h"
#include "run/optimizer_state.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// Tensors that a line of damage names.
constexpr std::size_t kNamed = 4;

template <class T>
ValueFacts facts_of(std::string_view bytes) {
  ValueFacts facts;
  for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T stored;
    std::memcpy(&stored, bytes.data() + at, sizeof(T));
    const auto value = static_cast<double>(stored);
    if (!std::isfinite(value)) {
      ++facts.non_finite;
      continue;
    }
    facts.squares += value * value;
    facts.largest = std::max(facts.largest, std::abs(value));
  }
  return facts;
}

ValueFacts facts_of(std::string_view bytes, at::ScalarType dtype) {
  ValueFacts facts;
  AT_DISPATCH_ALL_TYPES_AND3(
      at::kBool,
      at::kHalf,
      at::kBFloat16,
      dtype,
      "facts_of",
      [&] {
        // Whatever byte stands for true.
        using Stored =
            std::conditional_t<std::is_same_v<scalar_t, bool>, char, scalar_t>;
        facts = facts_of<Stored>(bytes);
      });
  return facts;
}

/// A piece of a file, and the tensor that it is of.
struct Reading {
  const StoredPiece* piece;
  SurveyedTensor* tensor;

  std::int64_t begin() const { return piece->offset; }
  std::int64_t end() const {
    return begin() + piece->count * static_cast<std::int64_t>(
                                        c10::elementSize(tensor->dtype));
  }
};

std::string without_path(std::string_view text, const fs::path& path) {
  const std::string before = path.string() + ": ";
  if (text.starts_with(before)) text.remove_prefix(before.size());
  return std::string(text);
}

/// A file of a checkpoint, read from its beginning to its end.
class FileSurvey {
 public:
  /// `readings` are those of this file, in the order in which they lie.
  FileSurvey(const fs::path& folder,
             const CheckedFile& file,
             std::span<const Reading> readings,
             SurveyedFile& found)
      : folder_(folder), file_(file), readings_(readings), found_(found) {}

  void look(bool verify) {
    try {
      CheckedReader reader(folder_, file_);
      if (verify) read(reader);
    } catch (const DamageError& error) {
      found_.damage = without_path(error.what(), folder_ / file_.name);
      for (const Reading& reading : readings_) mark(reading, found_.damage);
    }
  }

 private:
  void read(CheckedReader& reader) {
    for (std::int64_t begin = 0; begin < file_.bytes; begin += kBlockBytes) {
      block_.resize(
          static_cast<std::size_t>(std::min(kBlockBytes, file_.bytes - begin)));
      std::string damage;
      try {
        reader.read(begin, block_, {});
      } catch (const DamageError& error) {
        damage = without_path(error.what(), folder_ / file_.name);
        if (found_.damage.empty()) found_.damage = damage;
        ++found_.damaged_blocks;
      }
      take(begin, damage);
    }
  }

  /// What the block that begins at `begin` has of the pieces.
  void take(std::int64_t begin, const std::string& damage) {
    const std::int64_t end = begin + std::ssize(block_);
    for (; next_ < readings_.size(); ++next_) {
      const Reading& reading = readings_[next_];
      if (reading.begin() >= end) return;
      if (!damage.empty()) mark(reading, damage);
      const std::int64_t from = std::max(reading.begin(), begin);
      const std::int64_t to = std::min(reading.end(), end);
      if (reading.tensor->damage.empty()) {
        add(reading,
            std::string_view(block_).substr(
                static_cast<std::size_t>(from - begin),
                static_cast<std::size_t>(to - from)));
      }
      if (reading.end() > end) return;
      rest_.clear();
    }
  }

  void add(const Reading& reading, std::string_view bytes) {
    const std::size_t element = c10::elementSize(reading.tensor->dtype);
    // An element may lie in two blocks.
    rest_ += bytes;
    const std::size_t whole = rest_.size() / element * element;
    reading.tensor->values->add(
        facts_of(std::string_view(rest_).substr(0, whole),
                 reading.tensor->dtype));
    rest_.erase(0, whole);
  }

  void mark(const Reading& reading, const std::string& damage) {
    std::string& known = reading.tensor->damage;
    if (known.empty()) known = fmt::format("{}: {}", file_.name, damage);
  }

  const fs::path& folder_;
  const CheckedFile& file_;
  std::span<const Reading> readings_;
  SurveyedFile& found_;
  std::size_t next_ = 0;
  std::string block_;
  std::string rest_;
};

std::string damage_line(const fs::path& folder,
                        const SurveyedFile& file,
                        const std::set<std::string>& tensors) {
  std::string line =
      fmt::format("{}: {}", (folder / file.name).string(), file.damage);
  if (file.damaged_blocks > 1) {
    line += fmt::format(", nor {} other of its {} blocks",
                        file.damaged_blocks - 1,
                        file.blocks);
  }
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

void look_at_files(CheckpointSurvey& survey, const Manifest& manifest) {
  std::vector<std::vector<Reading>> by_file(manifest.files.size());
  auto tensor = survey.tensors.begin();
  for (const auto& [name, stored] : manifest.tensors) {
    for (const StoredPiece& piece : stored.pieces) {
      if (piece.count > 0) by_file[piece.file].push_back({&piece, &*tensor});
    }
    ++tensor;
  }
  for (std::size_t f = 0; f < by_file.size(); ++f) {
    std::ranges::sort(by_file[f], {}, &Reading::begin);
    const CheckedFile& file = manifest.files[f];
    SurveyedFile found{file.name, file.bytes, std::ssize(file.blocks)};
    FileSurvey(survey.folder, file, by_file[f], found).look(survey.verified);
    if (!found.damage.empty()) {
      std::set<std::string> names;
      for (const Reading& reading : by_file[f]) {
        if (!reading.tensor->damage.empty()) names.insert(reading.tensor->name);
      }
      survey.damage.push_back(damage_line(survey.folder, found, names));
    }
    survey.files.push_back(std::move(found));
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

double ValueFacts::norm() const {
  return std::sqrt(squares);
}

void ValueFacts::add(const ValueFacts& others) {
  squares += others.squares;
  largest = std::max(largest, others.largest);
  non_finite += others.non_finite;
}

std::int64_t CheckpointSurvey::bytes() const {
  std::int64_t all = 0;
  for (const SurveyedFile& file : files) all += file.bytes;
  return all;
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
