#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "run/checkpoint_survey.h"
#include "run/manifest.h"

namespace mumoe::run {

/// A piece of a file, and the tensor that it is of.
struct Reading {
  const StoredPiece* piece;
  SurveyedTensor* tensor;

  std::int64_t begin() const { return piece->offset; }
  std::int64_t end() const;
};

/// Says in `found` whether `file` is there, in its size.
void look_for(const std::filesystem::path& folder,
              const CheckedFile& file,
              SurveyedFile& found);

/// A file of a checkpoint, read from its beginning to its end: each block once.
class FileSurvey {
 public:
  /// `readings` are those of this file, in the order in which they lie; what
  /// they hold is added to their tensors' values. All must outlive it.
  FileSurvey(const std::filesystem::path& folder,
             const CheckedFile& file,
             std::span<const Reading> readings,
             SurveyedFile& found)
      : folder_(folder), file_(file), readings_(readings), found_(found) {}

  /// Checks all of it, and takes the values; where there is damage, of what
  /// `rebuild` knows, if it is there.
  void read(const Rebuild& rebuild);
  /// Says of the tensors that nothing of the file can be read.
  void lose_all();
  /// Tensors that have something in what is damaged.
  const std::set<std::string>& touched() const { return touched_; }

 private:
  void take(std::int64_t begin, const std::string& damage, bool touched);
  void add(const Reading& reading, std::string_view bytes);
  void lose(const Reading& reading, const std::string& damage);

  const std::filesystem::path& folder_;
  const CheckedFile& file_;
  std::span<const Reading> readings_;
  SurveyedFile& found_;
  std::size_t next_ = 0;  ///< Of the readings.
  std::string block_;
  std::string rest_;  ///< Of an element that lies in two blocks.
  std::set<std::string> touched_;
};

}  // namespace mumoe::run
