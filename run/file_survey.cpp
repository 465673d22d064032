#include "run/file_survey.h"

#include <fmt/format.h>

#include <algorithm>

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

std::string without_path(std::string_view text, const fs::path& path) {
  const std::string before = path.string() + ": ";
  if (text.starts_with(before)) text.remove_prefix(before.size());
  return std::string(text);
}

}  // namespace

std::int64_t Reading::end() const {
  return begin() + piece->count * static_cast<std::int64_t>(
                                      c10::elementSize(tensor->dtype));
}

void look_for(const fs::path& folder,
              const CheckedFile& file,
              SurveyedFile& found) {
  try {
    const CheckedReader there(folder, file);
  } catch (const DamageError& error) {
    found.damage = without_path(error.what(), folder / file.name);
    found.lost = true;
  }
}

void FileSurvey::read(const Rebuild& rebuild) {
  const fs::path path = folder_ / file_.name;
  CheckedReader reader(folder_,
                       file_,
                       [&](std::int64_t block, const std::string& damage) {
                         if (found_.damage.empty())
                           found_.damage = without_path(damage, path);
                         ++found_.damaged_blocks;
                         if (!rebuild) throw DamageError(damage);
                         return rebuild(block, damage);
                       });
  bool rebuilt = rebuild != nullptr;
  for (std::int64_t begin = 0; begin < file_.bytes; begin += kBlockBytes) {
    block_.resize(
        static_cast<std::size_t>(std::min(kBlockBytes, file_.bytes - begin)));
    const auto before = found_.damaged_blocks;
    std::string damage;
    try {
      reader.read(begin, block_, {});
    } catch (const DamageError& error) {
      damage = without_path(error.what(), path);
      rebuilt = false;
    }
    take(begin, damage, found_.damaged_blocks > before);
  }
  found_.rebuilt = rebuilt && !found_.damage.empty();
}

void FileSurvey::lose_all() {
  for (const Reading& reading : readings_) lose(reading, found_.damage);
}

/// What the block that begins at `begin` has of the pieces. `damage`: why it is
/// not known; `touched`: whether it was damaged.
void FileSurvey::take(std::int64_t begin,
                      const std::string& damage,
                      bool touched) {
  const std::int64_t end = begin + std::ssize(block_);
  for (; next_ < readings_.size(); ++next_) {
    const Reading& reading = readings_[next_];
    if (reading.begin() >= end) return;
    if (touched) touched_.insert(reading.tensor->name);
    if (!damage.empty()) lose(reading, damage);
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

void FileSurvey::add(const Reading& reading, std::string_view bytes) {
  const std::size_t element = c10::elementSize(reading.tensor->dtype);
  rest_ += bytes;
  const std::size_t whole = rest_.size() / element * element;
  reading.tensor->values->add(facts_of(std::string_view(rest_).substr(0, whole),
                                       reading.tensor->dtype));
  rest_.erase(0, whole);
}

void FileSurvey::lose(const Reading& reading, const std::string& damage) {
  touched_.insert(reading.tensor->name);
  std::string& known = reading.tensor->damage;
  if (known.empty()) known = fmt::format("{}: {}", file_.name, damage);
}

}  // namespace mumoe::run
