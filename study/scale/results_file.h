#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_lock.h"
#include "study/scale/scale_result.h"

namespace mumoe::study {

/// Takes a line of results.jsonl without its end; `where`: file and line.
using TakeLine =
    std::function<void(std::string_view line, const std::string& where)>;

/// What `read_lines` found: bytes of whole lines, and one line that says what
/// stands behind them; empty: nothing. A crash cuts the last line short.
struct WholeLines {
  std::uintmax_t whole = 0;
  std::string note = {};
};

/// Gives all whole lines of `file` to `take`, but for those that are empty; a
/// file that is not there has none. Throws `InputError`, also what `take` does.
WholeLines read_lines(const std::filesystem::path& file, const TakeLine& take);

/// The folder of a study, which no other process measures into meanwhile:
/// study.json and results.jsonl, which grows line by line. All functions throw
/// `InputError` naming path and reason.
class LinesFolder {
 public:
  /// Makes the folder if need be and gives what lines there are to `take`,
  /// before anything changes; `text` becomes its study.json. Throws where
  /// another process holds it, or it has files and none of a study. What a
  /// crash has left of a last line is cut off.
  LinesFolder(std::filesystem::path folder,
              const std::string& text,
              const TakeLine& take);
  ~LinesFolder();
  LinesFolder(const LinesFolder&) = delete;
  LinesFolder& operator=(const LinesFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  /// What was found otherwise than expected: lines.
  const std::vector<std::string>& notes() const { return notes_; }
  /// Adds a line, which outlasts a power cut when this returns.
  void append(const std::string& line);

 private:
  std::filesystem::path file() const { return folder_ / "results.jsonl"; }
  void keep_study(const std::string& text);

  std::filesystem::path folder_;
  std::vector<FileLock> lock_;
  std::vector<std::string> notes_;
  int fd_ = -1;
};

/// The same with its lines as results: `Parse` reads one, `to_json` writes it.
template <class Result,
          Result (*Parse)(std::string_view line, const std::string& where)>
class ResultsFolder {
 public:
  ResultsFolder(std::filesystem::path folder, const std::string& text)
      : lines_(std::move(folder),
               text,
               [this](std::string_view line, const std::string& where) {
                 results_.push_back(Parse(line, where));
               }) {}

  const std::filesystem::path& path() const { return lines_.path(); }
  const std::vector<std::string>& notes() const { return lines_.notes(); }
  /// All lines of results.jsonl, also of earlier starts.
  const std::vector<Result>& results() const { return results_; }
  void append(const Result& result) {
    lines_.append(to_json(result));
    results_.push_back(result);
  }

 private:
  std::vector<Result> results_;  // before what fills it
  LinesFolder lines_;
};

using StudyFolder = ResultsFolder<ScaleResult, from_json>;

}  // namespace mumoe::study
